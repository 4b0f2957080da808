//! How a model is talked to: its template as it is, once it was seen to take a question.
//!
//! Templates are rendered where somebody asks ([`potluck_model::chat`]); here one is only tried, in the
//! forms that templates want: a text or a list of parts, with or without a system message. A model
//! whose template takes neither is refused before a weight is read.

use potluck_model::chat::{ChatFormat, Content, Conversation, LocalTime, MAX_TEMPLATE_BYTES};

use crate::error::ImportError;
use crate::source::Chat;

/// Stands for the question. Looked for without regard to case, as a template may change that.
const QUESTION: &str = "QuestionOfPotluck";

/// The format of a model's conversations; a model without a template simply goes on with the text.
pub(super) fn format(chat: &Chat) -> Result<ChatFormat, ImportError> {
    let broken = |problem: &str| ImportError::Unsupported {
        what: format!("the chat template ({problem})"),
        supported: "Jinja templates that show the question".to_owned(),
    };
    let plain = ChatFormat {
        template: chat.template.clone(),
        bos: chat.specials.bos.clone(),
        eos: chat.specials.eos.clone(),
        ..ChatFormat::default()
    };
    let Some(template) = &chat.template else { return Ok(plain) };
    if template.len() > MAX_TEMPLATE_BYTES {
        let bytes = template.len();
        return Err(broken(&format!("of {bytes} bytes; at most {MAX_TEMPLATE_BYTES} are read")));
    }
    let mut problem = None;
    for (content, wants_system) in [
        (Content::Text, false),
        (Content::Parts, false),
        (Content::Text, true),
        (Content::Parts, true),
    ] {
        let format = ChatFormat { content, wants_system, ..plain.clone() };
        let words = match format.text(&Conversation::question(QUESTION), LocalTime::default()) {
            Ok(text) if shows(&text) => return Ok(format),
            Ok(_) => "it does not show the question".to_owned(),
            Err(error) => error.to_string(),
        };
        // What it says of the plainest form is what its maker would want to know.
        problem.get_or_insert(words);
    }
    Err(broken(&problem.unwrap_or_default()))
}

fn shows(text: &str) -> bool {
    text.to_lowercase().contains(&QUESTION.to_lowercase())
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
    fn a_template_is_kept_in_the_form_that_it_takes() {
        let refuses = "{% if messages[0].role != 'system' %}{{ raise_exception('no') }}{% endif %}";
        for (template, content, wants_system) in [
            ("{{ messages[0].content }}", Content::Text, false),
            ("{{ messages[0].content | upper }}", Content::Text, false),
            ("{{ messages[0].content }}{{ messages[0].content }}", Content::Text, false),
            (
                "{% for part in messages[0].content %}{{ part.text }}{% endfor %}",
                Content::Parts,
                false,
            ),
            (&format!("{refuses}{{{{ messages[-1].content }}}}"), Content::Text, true),
        ] {
            let got = formatted(template).unwrap();
            assert_eq!((got.content, got.wants_system), (content, wants_system), "{template}");
            assert_eq!(got.template.as_deref(), Some(template));
        }
    }

    #[test]
    fn a_model_without_a_template_goes_on_with_the_text() {
        let specials = Specials { bos: "<s>".to_owned(), eos: String::new() };
        let got = format(&Chat { template: None, specials }).unwrap();
        assert_eq!(got.text(&Conversation::question("Once"), LocalTime(0)).unwrap(), "<s>Once");
    }

    #[test]
    fn templates_that_cannot_be_used_say_why() {
        let long = "x".repeat(MAX_TEMPLATE_BYTES + 1);
        for (template, named) in [
            ("{{ messages", "syntax error"),
            ("hello", "does not show the question"),
            ("{{ raise_exception('only with tools') }}", "only with tools"),
            (&long, "bytes"),
            (
                "{% for i in range(10000) %}{% for j in range(10000) %}x{% endfor %}{% endfor %}",
                "fuel",
            ),
        ] {
            let words = formatted(template).unwrap_err().to_string();
            assert!(words.contains(named) && words.contains("chat template"), "{words}");
        }
    }
}
