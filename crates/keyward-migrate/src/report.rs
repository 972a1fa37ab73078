//! An inventory as one HTML file that can be mailed: no script, nothing that is
//! loaded from elsewhere.

use std::fmt::Write as _;

use crate::inventory::{Inventory, Listed};

/// The whole page.
#[must_use]
pub fn html(inventory: &Inventory) -> String {
    let mut page = String::new();
    let source = escaped(&inventory.source);
    // Writing to a String does not fail.
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>Inventory of {source}</title>\n<style>{STYLE}</style></head><body>\n\
         <h1>Inventory of {source}</h1>\n<p>{} &middot; {} objects &middot; {} findings &middot; {}</p>\n",
        escaped(&inventory.kind),
        inventory.objects.len(),
        inventory.findings.len(),
        escaped(&inventory.made),
    );
    list(
        &mut page,
        "Findings",
        inventory.findings.iter().map(|finding| (finding.kind, finding.text.clone())),
    );
    list(
        &mut page,
        "Remarks",
        inventory.remarks.iter().map(|remark| {
            let kind = if remark.problem { "problem" } else { "remark" };
            (kind, format!("{}: {}", remark.place, remark.text))
        }),
    );
    for (title, class) in [
        ("Private keys", "private key"),
        ("Secret keys", "secret key"),
        ("Certificates", "certificate"),
        ("Public keys", "public key"),
        ("Data", "data"),
        ("Other objects", "object of another class"),
    ] {
        let objects: Vec<_> =
            inventory.objects.iter().filter(|object| object.class == class).collect();
        if objects.is_empty() {
            continue;
        }
        let _ = write!(
            page,
            "<h2>{title}</h2>\n<table><tr><th>Label</th><th>Kind</th><th>CKA_ID</th><th>Where</th>\
             <th>Belongs to</th><th>SHA-256</th><th>More</th></tr>\n"
        );
        for object in objects {
            row(&mut page, object);
        }
        page.push_str("</table>\n");
    }
    page.push_str("</body></html>\n");
    page
}

fn list(page: &mut String, title: &str, lines: impl Iterator<Item = (&'static str, String)>) {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return;
    }
    let _ = write!(page, "<h2>{title}</h2>\n<ul>\n");
    for (kind, text) in lines {
        let _ = writeln!(page, "<li><b>{}</b> {}</li>", escaped(kind), escaped(&text));
    }
    page.push_str("</ul>\n");
}

fn row(page: &mut String, object: &Listed) {
    let links = |references: &[String]| {
        references
            .iter()
            .map(|it| format!("<a href=\"#{0}\">{0}</a>", escaped(it)))
            .collect::<Vec<_>>()
            .join("<br>")
    };
    let place = match &object.entry {
        Some(entry) => format!("{}<br>entry {}", escaped(&object.place), escaped(entry)),
        None => escaped(&object.place),
    };
    let belongs = match &object.key {
        Some(key) => links(std::slice::from_ref(key)),
        None => links(&[&object.certificates[..], &object.chain[..]].concat()),
    };
    let mut more = String::new();
    if let Some(certificate) = &object.certificate {
        let _ = write!(
            more,
            "subject {}<br>issuer {}<br>until {}<br>",
            escaped(&certificate.subject),
            escaped(&certificate.issuer),
            escaped(&certificate.not_after)
        );
    }
    if let Some(closed) = &object.closed {
        let _ = write!(more, "<b>{}</b><br>", escaped(closed));
    }
    let attributes: Vec<_> = object
        .attributes
        .iter()
        .map(|(name, value)| format!("{} = {}", escaped(name), escaped(value)))
        .collect();
    if !attributes.is_empty() {
        let _ = write!(
            more,
            "<details><summary>attributes</summary>{}</details>",
            attributes.join("<br>")
        );
    }
    let _ = writeln!(
        page,
        "<tr id=\"{}\"><td>{}</td><td>{}</td><td><code>{}</code></td><td>{place}</td><td>{belongs}</td>\
         <td><code>{}</code></td><td>{more}</td></tr>",
        escaped(&object.reference),
        escaped(&object.label),
        escaped(&object.kind),
        escaped(&object.id),
        object.sha256.as_deref().unwrap_or_default(),
    );
}

/// Labels and names come out of files that others made.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

const STYLE: &str = "body{font:15px/1.5 sans-serif;margin:2em}table{border-collapse:collapse}\
td,th{border:1px solid #bbb;padding:.3em .6em;vertical-align:top;text-align:left}\
code{font-size:12px;word-break:break-all}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_label_becomes_markup() {
        assert_eq!(escaped("<b a='1'>&\u{1b}"), "&lt;b a=&#39;1&#39;&gt;&amp;\u{fffd}");
    }
}
