//! An answer, and what tests say about it.

use std::fmt;

/// Status, fields and body of an answer.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// Reads the head of an HTTP/1.1 answer.
    pub(crate) fn parse(head: &str) -> Self {
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().unwrap();
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3));
        let status = status.and_then(|digits| digits.parse().ok());
        Self {
            status: status.unwrap_or_else(|| panic!("no status line: {head:?}")),
            headers: lines
                .map(|line| {
                    line.split_once(':')
                        .unwrap_or_else(|| panic!("no field: {line:?}"))
                })
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect(),
            body: Vec::new(),
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self}"))
    }

    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let same = self.headers.iter().filter(|(key, _)| key == name);
        same.map(|(_, value)| value.as_str()).collect()
    }

    /// The only value of a field.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let values = self.values(name);
        assert!(values.len() <= 1, "{name} came twice in {self}");
        values.first().copied()
    }

    /// Value of a hidden input of the form.
    pub(crate) fn hidden(&self, name: &str) -> String {
        let text = self.text();
        let input = text
            .split("<input")
            .skip(1)
            .map(|rest| rest.split('>').next().unwrap())
            .find(|input| input.contains(&format!("name=\"{name}\"")));
        let input = input.unwrap_or_else(|| panic!("no input {name} in {self}"));
        let value = input.split("value=\"").nth(1).unwrap_or_default();
        unescape(value.split('"').next().unwrap())
    }

    /// Where each form of the page goes.
    pub(crate) fn actions(&self) -> Vec<String> {
        let text = self.text();
        let forms = text.split("action=\"").skip(1);
        forms
            .map(|rest| unescape(rest.split('"').next().unwrap()))
            .collect()
    }

    #[track_caller]
    pub(crate) fn assert_status(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "in {self}");
        self
    }

    /// 303, and where to.
    #[track_caller]
    pub(crate) fn assert_redirects_to(&self, location: &str) -> &Self {
        self.assert_status(303);
        self.assert_header("location", location)
    }

    #[track_caller]
    pub(crate) fn assert_header(&self, name: &str, value: &str) -> &Self {
        assert_eq!(self.value(name), Some(value), "{name} in {self}");
        self
    }

    #[track_caller]
    pub(crate) fn assert_contains(&self, part: &str) -> &Self {
        assert!(self.text().contains(part), "{part:?} is not in {self}");
        self
    }
}

/// The entities that a template engine writes into attributes.
fn unescape(text: &str) -> String {
    [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#x27;", "'"),
        ("&#x2f;", "/"),
        ("&#x2F;", "/"),
        ("&#39;", "'"),
        ("&#34;", "\""),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (entity, plain)| {
        text.replace(entity, plain)
    })
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "this answer:\n{}", self.status)?;
        for (name, value) in &self.headers {
            writeln!(f, "{name}: {value}")?;
        }
        writeln!(f, "\n{}", self.text())
    }
}
