//! A model's template, run as Hugging Face `transformers` runs it.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, ErrorKind, context};

use super::said::{Said, nothing_set_up};
use super::{ChatFormat, LocalTime, dates, json};

/// Steps of a template at most, and what its texts cost: real ones take some thousands for a long
/// conversation.
const MAX_FUEL: u64 = 20_000_000;

/// The text that `template` makes of what was said, with the beginning of the answer.
pub(super) fn render(
    format: &ChatFormat,
    template: &str,
    said: Said,
    now: LocalTime,
) -> Result<String, Error> {
    let mut jinja = Environment::new();
    // As transformers sets them.
    jinja.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    jinja.set_fuel(Some(MAX_FUEL));
    jinja.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    jinja.add_filter("tojson", tojson);
    jinja.add_function("raise_exception", |words: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, words))
    });
    jinja.add_function("strftime_now", move |pattern: String| {
        dates::format(now, &pattern).map_err(|why| Error::new(ErrorKind::InvalidOperation, why))
    });
    let Said { messages, tools, effort, has_system } = said;
    let system = (format.wants_system && !has_system).then(|| nothing_set_up(format.content));
    let messages: Vec<Value> = system.into_iter().chain(messages).collect();
    jinja.render_str(
        &without_generation_marks(template),
        context! {
            messages,
            add_generation_prompt => true,
            bos_token => format.bos.as_str(),
            eos_token => format.eos.as_str(),
            tools,
            documents => (),
            // Answers, not essays about them, where a model can do both and nobody asked for more.
            enable_thinking => effort.is_some(),
            reasoning_effort => effort,
        },
    )
}

/// `tojson` as transformers has it: Python's `json.dumps` with `ensure_ascii=False`, nothing escaped
/// for HTML.
fn tojson(value: Value, arguments: Kwargs) -> Result<Value, Error> {
    let style = json::Style {
        ascii: arguments.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        indent: arguments.get::<Option<usize>>("indent")?,
        separators: match arguments.get::<Option<Vec<String>>>("separators")?.as_deref() {
            Some([between, behind]) => Some((between.clone(), behind.clone())),
            Some(_) => {
                let what = "tojson: separators are two texts";
                return Err(Error::new(ErrorKind::InvalidOperation, what));
            }
            None => None,
        },
        sorted: arguments.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    arguments.assert_all_used()?;
    style.write(&value).map(Value::from)
}

/// The template with `{% generation %}` and its end, which only training looks at, as a condition that
/// always holds: what stands around a block is cut as before.
fn without_generation_marks(template: &str) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        text.push_str(before);
        let Some(end) = tag.find("%}") else { break };
        let (tag, after) = tag.split_at(end + 2);
        let inner = tag.trim_start_matches("{%").trim_end_matches("%}");
        let word = inner.trim_matches(['-', '+']).trim();
        match word {
            "generation" => text.push_str(&tag.replace(word, "if true")),
            "endgeneration" => text.push_str(&tag.replace(word, "endif")),
            _ => text.push_str(tag),
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::super::{Content, Conversation, Effort, Message, Role, ToolCall};
    use super::*;

    fn rendered(template: &str, messages: &[Message]) -> Result<String, String> {
        let format = ChatFormat {
            template: Some(template.to_owned()),
            bos: "<s>".to_owned(),
            eos: "</s>".to_owned(),
            ..ChatFormat::default()
        };
        // 2026-11-27 09:05 in the asker's own time.
        let now = LocalTime(1_795_770_300);
        format.text(&Conversation::of(messages.to_vec()), now).map_err(|error| error.to_string())
    }

    fn said(role: Role, content: &str) -> Message {
        Message::new(role, content)
    }

    #[test]
    fn what_templates_ask_for_is_there() {
        let hi = [Message::user(" hi ")];
        for (template, text) in [
            ("{{ bos_token }}{{ messages[0].content | trim }}{{ eos_token }}", "<s>hi</s>"),
            ("{{ messages[0]['content'].strip() }}", "hi"),
            ("{{ strftime_now('%d %b %Y %H:%M') }}", "27 Nov 2026 09:05"),
            ("{{ strftime_now('%Y-%m-%d') }}", "2026-11-27"),
            ("{{ strftime_now('%A, %B %-d, %j %%') }}", "Friday, November 27, 331 %"),
            ("{%- generation -%} {{ messages[0].role }} {%- endgeneration %}", "user"),
            ("{% generation %}\nx\n{% endgeneration %}\ny", "x\ny"),
            (
                "{{ {'b': [1, 2.5, none, true], 'a': '<ü>'} | tojson }}",
                r#"{"b": [1, 2.5, null, true], "a": "<ü>"}"#,
            ),
            ("{{ {'a': {'b': []}} | tojson(indent=2) }}", "{\n  \"a\": {\n    \"b\": []\n  }\n}"),
            (
                "{{ ['ü', 1] | tojson(ensure_ascii=true, separators=(',', ':')) }}",
                r#"["\u00fc",1]"#,
            ),
            ("{{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}", r#"{"a": 2, "b": 1}"#),
            ("{% if tools is none and not documents %}no{% endif %}", "no"),
            ("{% if tools %}yes{% endif %}{% if date_string is defined %}yes{% endif %}", ""),
            (
                "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}x{% endfor %}",
                "",
            ),
            ("{% set ns = namespace(a=1) %}{% set ns.a = 2 %}{{ ns.a }}", "2"),
            ("{{ messages[0].content.split('i')[0] + messages[-1].role.upper() }}", " hUSER"),
            ("{% macro f(x) %}[{{ x }}]{% endmacro %}{{ f('a') }}", "[a]"),
        ] {
            assert_eq!(rendered(template, &hi).as_deref(), Ok(text), "{template}");
        }
    }

    #[test]
    fn turns_are_given_as_they_were() {
        let turns = [
            said(Role::System, "Be kind."),
            Message::user("Hi"),
            said(Role::Assistant, "Hello!"),
            Message::user("Bye"),
        ];
        let template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}";
        let text = "system: Be kind.\nuser: Hi\nassistant: Hello!\nuser: Bye\nassistant:";
        assert_eq!(rendered(template, &turns).as_deref(), Ok(text));
    }

    #[test]
    fn a_template_that_cannot_go_on_says_why() {
        let hi = [Message::user("hi")];
        for (template, named) in [
            ("{{ messages", "syntax error"),
            ("{{ raise_exception('only with tools') }}", "only with tools"),
            ("{{ strftime_now('%Q') }}", "%Q"),
            (
                "{% for i in range(10000) %}{% for j in range(10000) %}x{% endfor %}{% endfor %}",
                "fuel",
            ),
            (
                "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
                "fuel",
            ),
        ] {
            let words = rendered(template, &hi).unwrap_err();
            assert!(
                words.contains(named) && words.contains("chat template"),
                "{template}: {words}"
            );
        }
    }

    #[test]
    fn content_may_be_parts_and_a_system_message_may_be_wanted() {
        let template = "{% if messages[0].role != 'system' %}{{ raise_exception('no system') }}{% endif %}{% for m in messages %}{{ m.role }}={% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %};{% endfor %}";
        let format = ChatFormat {
            template: Some(template.to_owned()),
            content: Content::Parts,
            wants_system: true,
            ..ChatFormat::default()
        };
        let text = format.text(&Conversation::question("hi"), LocalTime(0)).unwrap();
        assert_eq!(text, "system=;user=hi;");
        let own = [said(Role::System, "Be."), Message::user("hi")];
        assert_eq!(
            format.text(&Conversation::of(own.to_vec()), LocalTime(0)).unwrap(),
            "system=Be.;user=hi;"
        );
    }

    #[test]
    fn tools_calls_and_thinking_are_as_templates_know_them() {
        let template = "{{ tools | tojson }}|{{ enable_thinking }},{{ reasoning_effort }}|{% for m in messages %}{{ m.role }}{% if m.tool_calls %}{% for c in m.tool_calls %} {{ c.type }} {{ c.id }} {{ c.function.name }} {{ c.function.arguments | tojson }}{% endfor %}{% endif %}{% if m.tool_call_id is defined %} {{ m.tool_call_id }}{% endif %}{% if m.reasoning_content %} ({{ m.reasoning_content }}){% endif %}={{ m.content }};{% endfor %}";
        let format = ChatFormat { template: Some(template.to_owned()), ..ChatFormat::default() };
        let call = ToolCall {
            id: "c1".to_owned(),
            name: "add".to_owned(),
            arguments: r#"{"b": 2, "a": [1.5, null, "x"]}"#.to_owned(),
        };
        let called = Message {
            tool_calls: vec![call],
            reasoning: Some("hm".to_owned()),
            ..Message::new(Role::Assistant, "")
        };
        let given =
            Message { tool_call_id: Some("c1".to_owned()), ..Message::new(Role::Tool, "3") };
        let tools =
            r#"[{"type": "function", "function": {"name": "add", "description": "Adds."}}]"#;
        let conversation = Conversation {
            tools: Some(tools.to_owned()),
            effort: Effort::High,
            ..Conversation::of(vec![Message::user("1+2?"), called, given])
        };
        assert_eq!(
            format.text(&conversation, LocalTime(0)).unwrap(),
            format!(
                r#"{tools}|True,high|user=1+2?;assistant function c1 add {{"b": 2, "a": [1.5, null, "x"]}} (hm)=;tool c1=3;"#
            )
        );
        let plain = Conversation { tools: None, effort: Effort::None, ..conversation.clone() };
        let text = format.text(&plain, LocalTime(0)).unwrap();
        assert!(text.to_lowercase().starts_with("null|false,none|"), "{text}");
        let wrong = Conversation { tools: Some("[{]".to_owned()), ..conversation };
        let words = format.text(&wrong, LocalTime(0)).unwrap_err().to_string();
        assert!(words.starts_with("the list of tools is not JSON"), "{words}");
    }

    #[test]
    fn a_text_that_is_gone_on_with_is_no_conversation() {
        let format = ChatFormat {
            template: Some("{{ raise_exception('not asked') }}".to_owned()),
            bos: "<s>".to_owned(),
            ..ChatFormat::default()
        };
        let text = format.text(&Conversation::plain("Once"), LocalTime(0)).unwrap();
        assert_eq!(text, "<s>Once");
    }
}
