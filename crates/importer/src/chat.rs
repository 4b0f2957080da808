//! From a chat template to what comes before and after a question.
//!
//! Templates are programs in Jinja, different in every model. They run here, once, at import, with
//! a marker for the question; what stands before and after the marker is all that nodes ever see.
//! The clock is not offered to them: the same files must become the same model.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, context};

use crate::error::ImportError;
use crate::source::Chat;
use potluck_model::package::ChatFormat;

/// Stands for the question; no template trims, cuts or changes letters like these.
const MARKER: &str = "QuestionOfPotluck";
/// Steps of a template at most; real ones take some hundreds for a single message.
const MAX_STEPS: u64 = 1_000_000;

/// The format that a model's template gives a single question; a model without one simply goes on
/// with the text.
pub(super) fn format(chat: &Chat) -> Result<ChatFormat, ImportError> {
    let Some(template) = &chat.template else {
        return Ok(ChatFormat { prefix: chat.specials.bos.clone(), suffix: String::new() });
    };
    let broken = |problem: String| ImportError::Unsupported {
        what: format!("the chat template ({problem})"),
        supported: "Jinja templates that show the question once".to_owned(),
    };
    let rendered = render(template, chat).map_err(|error| broken(format!("{error:#}")))?;
    let parts: Vec<&str> = rendered.split(MARKER).collect();
    match parts.as_slice() {
        [prefix, suffix] => {
            Ok(ChatFormat { prefix: (*prefix).to_owned(), suffix: (*suffix).to_owned() })
        }
        _ => Err(broken(format!("it shows the question {} times", parts.len() - 1))),
    }
}

fn render(template: &str, chat: &Chat) -> Result<String, Error> {
    let mut jinja = Environment::new();
    // As Hugging Face sets them.
    jinja.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    jinja.set_fuel(Some(MAX_STEPS));
    jinja.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    jinja.add_function("raise_exception", |words: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, words))
    });
    jinja.render_str(
        template,
        context! {
            messages => [context! { role => "user", content => MARKER }],
            add_generation_prompt => true,
            bos_token => chat.specials.bos.as_str(),
            eos_token => chat.specials.eos.as_str(),
            // Answers, not essays about them, where a model can do both.
            enable_thinking => false,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Specials;

    fn formatted(template: &str) -> Result<ChatFormat, ImportError> {
        let specials = Specials { bos: "<s>".to_owned(), eos: "</s>".to_owned() };
        format(&Chat { template: Some(template.to_owned()), specials })
    }

    #[test]
    fn templates_in_use_become_prefix_and_suffix() {
        // Written here in the manner of ChatML with a system message, of Llama 3, of Mistral, and
        // of Qwen 3.
        let chat_ml = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
        let llama = "{{- bos_token }}{%- if not date_string is defined %}{%- if strftime_now is defined %}{%- set date_string = strftime_now('%d') %}{%- else %}{%- set date_string = '26 Jul 2024' %}{%- endif %}{%- endif %}{{- date_string }}\n{%- for message in messages %}{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' + message.content | trim + '<|eot_id|>' }}{%- endfor %}{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}";
        let mistral = "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ ' [INST] ' + m.content.strip() + ' [/INST]' }}{% else %}{{ raise_exception('no') }}{% endif %}{% endfor %}";
        let qwen = "{%- set ns = namespace(last=messages|length - 1) %}{%- for m in messages[::-1] %}{%- if m.role == 'user' and not m.content.startswith('<tool>') %}{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}{%- if tools %}{{ tools | tojson }}{%- endif %}{%- for m in messages %}{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}{%- endif %}";
        for (template, prefix, suffix) in [
            (
                chat_ml,
                "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n",
                "<|im_end|>\n<|im_start|>assistant\n",
            ),
            (
                llama,
                "<s>26 Jul 2024<|start_header_id|>user<|end_header_id|>\n\n",
                "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
            ),
            (mistral, "<s> [INST] ", " [/INST]"),
            (
                qwen,
                "<|im_start|>user\n",
                "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
            ),
        ] {
            let got = formatted(template).unwrap();
            assert_eq!((got.prefix.as_str(), got.suffix.as_str()), (prefix, suffix), "{template}");
        }
    }

    #[test]
    fn a_model_without_a_template_goes_on_with_the_text() {
        let specials = Specials { bos: "<s>".to_owned(), eos: String::new() };
        let got = format(&Chat { template: None, specials }).unwrap();
        assert_eq!((got.prefix.as_str(), got.suffix.as_str()), ("<s>", ""));
    }

    #[test]
    fn templates_that_cannot_be_used_say_why() {
        for (template, named) in [
            ("{{ messages", "syntax error"),
            ("hello", "0 times"),
            ("{{ messages[0].content }}{{ messages[0].content }}", "2 times"),
            ("{{ raise_exception('only with tools') }}", "only with tools"),
            (
                "{% for i in range(10000) %}{% for j in range(10000) %}x{% endfor %}{% endfor %}",
                "fuel",
            ),
        ] {
            let words = formatted(template).unwrap_err().to_string();
            assert!(
                words.contains(named) && words.contains("chat template"),
                "{template}: {words}"
            );
        }
    }
}
