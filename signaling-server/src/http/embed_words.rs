//! The widget's question in the visitor's language: its document is translated here, before it is sent,
//! so that a visitor who was not asked anything yet fetches no words but their own.
//!
//! `embed_zh.txt` has what stands in `static/embed.html`, and below each what takes its place. What a
//! later page says otherwise stays in English.

use axum::http::{HeaderMap, header};

use crate::sites::WhyNot;

/// A language that the widget asks in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum WidgetLanguage {
    /// As the document is written.
    #[default]
    English,
    /// Chinese, in simplified characters.
    Chinese,
}

const CHINESE: &str = include_str!("embed_zh.txt");
/// Languages that are looked at of what a browser asks for.
const MAX_ASKED: usize = 16;

impl WidgetLanguage {
    /// What the owner of the site wants, or else the first that the browser asks for of those that there
    /// are. Browsers name them in the order in which their visitor prefers them.
    pub(super) fn wanted(owner: Option<&str>, headers: &HeaderMap) -> Self {
        let asked = headers.get(header::ACCEPT_LANGUAGE).and_then(|asked| asked.to_str().ok());
        let browser = asked.unwrap_or_default().split(',').take(MAX_ASKED);
        owner.into_iter().chain(browser).find_map(Self::of).unwrap_or_default()
    }

    fn of(tag: &str) -> Option<Self> {
        let first = tag.split(['-', '_', ';']).next().unwrap_or_default().trim();
        match &*first.to_ascii_lowercase() {
            "en" => Some(Self::English),
            "zh" => Some(Self::Chinese),
            _ => None,
        }
    }

    /// The document in this language.
    pub(crate) fn translate(self, html: String) -> String {
        match self {
            Self::English => html,
            Self::Chinese => {
                pairs().fold(html, |html, (english, chinese)| html.replace(english, chinese))
            }
        }
    }

    /// Why the widget does not run.
    pub(super) fn why_not(self, why: &WhyNot) -> String {
        match (self, why) {
            (Self::English, why) => why.to_string(),
            (Self::Chinese, WhyNot::NoWidgets) => "这台服务器的运营者关闭了小组件".to_owned(),
            (Self::Chinese, WhyNot::Blocked) => "这台服务器的运营者关闭了这个网站".to_owned(),
            (Self::Chinese, WhyNot::Unknown) => "这台服务器不认识有此密钥的网站".to_owned(),
            (Self::Chinese, WhyNot::Off(site)) => format!("{site} 已将其关闭"),
            (Self::Chinese, WhyNot::Unproved(site)) => format!("尚未证明 {site} 属于其所有者"),
        }
    }

    /// What there is to say where there is no model, and what stands for a site that is not known.
    pub(super) fn nothing(self) -> (&'static str, &'static str) {
        match self {
            Self::English => ("this server has no model to compute yet", "this page"),
            Self::Chinese => ("这台服务器还没有可计算的模型", "这个网页"),
        }
    }
}

fn pairs() -> impl Iterator<Item = (&'static str, &'static str)> {
    CHINESE.split("\n\n").filter_map(|pair| pair.trim_end().split_once('\n'))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const DOCUMENT: &str = include_str!("../../../static/embed.html");

    #[test]
    fn every_sentence_is_there_once_and_in_chinese() {
        for (english, _) in pairs() {
            assert_eq!(DOCUMENT.matches(english).count(), 1, "{english}");
        }
        let chinese = WidgetLanguage::Chinese.translate(DOCUMENT.to_owned());
        // What is left of English between the tags of what a visitor reads: names and units.
        let body = chinese.split_once("<body>").unwrap().1.split_once("<script").unwrap().0;
        let mut texts = String::new();
        for part in body.split('<').filter_map(|part| Some(part.split_once('>')?.1)) {
            texts.push_str(part);
        }
        for placeholder in ["{{server}}", "{{site}}", "{{model}}", "{{megabytes}}"] {
            assert!(texts.contains(placeholder), "{placeholder}");
            texts = texts.replace(placeholder, "");
        }
        let words: Vec<&str> = texts.split(|letter: char| !letter.is_ascii_alphabetic()).collect();
        let left: Vec<&&str> = words.iter().filter(|word| !word.is_empty()).collect();
        assert_eq!(left, [&"AI", &"Wh", &"Wh", &"MB"]);
    }

    #[test]
    fn the_owner_chooses_or_else_the_browser() {
        let wanted = |owner: Option<&str>, asked: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static(asked));
            WidgetLanguage::wanted(owner, &headers)
        };
        use WidgetLanguage::{Chinese, English};
        assert_eq!(wanted(None, "zh-CN,zh;q=0.9,en;q=0.8"), Chinese);
        assert_eq!(wanted(None, "fr, en-GB;q=0.8, zh;q=0.5"), English);
        assert_eq!(wanted(None, "fr, zh_TW;q=0.5"), Chinese);
        assert_eq!(wanted(None, "fr,;;,*"), English);
        assert_eq!(wanted(Some("en"), "zh"), English);
        assert_eq!(wanted(Some("zh-Hans"), "en"), Chinese);
        assert_eq!(wanted(Some("\"><script>"), "zh"), Chinese);
        assert_eq!(WidgetLanguage::wanted(None, &HeaderMap::new()), English);
    }
}
