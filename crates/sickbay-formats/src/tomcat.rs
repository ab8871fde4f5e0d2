//! `server.xml` of Tomcat: its connectors.

use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use crate::lines::span_at;
use crate::span::Span;

/// So many connectors are read; one has a handful.
const MOST: usize = 1000;

/// A `<Connector>`, and what is said in it. What a property stands for is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connector {
    /// The attributes.
    pub attributes: Vec<(String, String)>,
    /// Its first words.
    pub span: Span,
}

impl Connector {
    /// What an attribute is set to.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The same where it is a number; a property is none.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.value(name)?.trim().parse().ok()
    }
}

/// Where it is no XML, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The line.
    pub line: usize,
    /// In the words of the reader.
    pub why: String,
}

/// The connectors that are not commented out.
///
/// # Errors
/// Where Tomcat's own reader would end, too.
pub fn connectors(text: &[u8]) -> Result<Vec<Connector>, Wrong> {
    let mut reader = Reader::from_reader(text);
    let mut all = Vec::new();
    let mut buffer = Vec::new();
    let mut depth = 0_usize;
    loop {
        buffer.clear();
        let at = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        let wrong = |why: String, at: usize| Wrong { line: span_at(text, at..at).line, why };
        match reader.read_event_into(&mut buffer) {
            Ok(Event::Eof) if depth > 0 => return Err(wrong("an element is not closed".to_owned(), text.len())),
            Ok(Event::Eof) => return Ok(all),
            Ok(Event::Start(start)) => {
                depth += 1;
                all.extend(connector(&start, text, at).map_err(|why| wrong(why, at))?);
            }
            Ok(Event::Empty(start)) => all.extend(connector(&start, text, at).map_err(|why| wrong(why, at))?),
            Ok(Event::End(_)) => depth = depth.saturating_sub(1),
            Ok(_) => {}
            Err(error) => {
                let at = usize::try_from(reader.error_position()).unwrap_or(at);
                return Err(wrong(error.to_string(), at));
            }
        }
        if all.len() >= MOST {
            return Ok(all);
        }
    }
}

fn connector(start: &BytesStart<'_>, text: &[u8], at: usize) -> Result<Option<Connector>, String> {
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        attributes.push((attribute.key.as_ref().to_owned(), attribute.value.clone().into_owned()));
    }
    if start.name().as_ref() != "Connector" {
        return Ok(None);
    }
    Ok(Some(Connector { attributes, span: span_at(text, at..at.saturating_add("<Connector".len())) }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SERVER: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<Server port="8005" shutdown="SHUTDOWN">
  <Service name="Catalina">
    <!-- <Connector port="8443" acceptCount="1"/> -->
    <Connector port="8080" protocol="HTTP/1.1"
               acceptCount="1000" maxThreads='800' connectionTimeout="-1"/>
    <Connector port="${ajp.port}" acceptCount="x"><UpgradeProtocol className="a&amp;b"/></Connector>
  </Service>
</Server>
"#;

    #[test]
    fn connectors_that_count() {
        let all = connectors(SERVER.as_bytes()).expect("XML");
        let [http, ajp] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!(
            (http.number("port"), http.number("acceptCount"), http.number("maxThreads")),
            (Some(8080), Some(1000), Some(800))
        );
        assert_eq!((http.number("connectionTimeout"), http.span), (Some(-1), Span { line: 5, column: 5, len: 10 }));
        assert_eq!((ajp.number("port"), ajp.number("acceptCount"), ajp.value("none")), (None, None, None));
    }

    #[test]
    fn what_is_no_xml() {
        let broken = [
            ("<Server>\n <Service>\n</Server>\n", 3),
            ("<Server>\n <Service a=\"1\n", 2),
            ("<Server>\n <Connector port=8080/>\n</Server>\n", 2),
            ("<Server>\n\n", 3),
            ("<Server a=\"1\" a=\"2\"/>", 1),
        ];
        for (text, line) in broken {
            let wrong = connectors(text.as_bytes()).expect_err(text);
            assert_eq!(wrong.line, line, "{text}: {wrong:?}");
        }
        assert_eq!(connectors(b""), Ok(Vec::new()));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "[<>/=\"' a-zC!\\[\\]&;?-]{0,200}") {
            let _ = connectors(&bytes);
            let _ = connectors(text.as_bytes());
            let _ = connectors(format!("<Connector {text}").as_bytes());
        }
    }
}
