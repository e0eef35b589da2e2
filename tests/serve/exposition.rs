//! Prometheus' text format, version 0.0.4, read strictly: what a scraper might forgive is a failure here.

use std::collections::{BTreeMap, BTreeSet};

/// The samples of a family, by name and labels.
pub type Samples = BTreeMap<(String, Vec<(String, String)>), f64>;

#[derive(Debug)]
pub struct Family {
    pub ty: String,
    pub samples: Samples,
}

fn is_name(text: &str) -> bool {
    let mut letters = text.chars();
    letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

/// `{a="x",b="y"}` and what follows it.
fn labels(text: &str) -> (Vec<(String, String)>, &str) {
    let Some(mut rest) = text.strip_prefix('{') else {
        return (Vec::new(), text);
    };
    let mut labels = Vec::new();
    loop {
        let (name, after) = rest.split_once("=\"").expect("a label has a value in quotes");
        assert!(is_name(name), "`{name}` is no label");
        let (mut value, mut letters) = (String::new(), after.char_indices());
        let end = loop {
            match letters.next().expect("a value ends") {
                (_, '\\') => match letters.next().expect("an escape ends").1 {
                    'n' => value.push('\n'),
                    letter @ ('\\' | '"') => value.push(letter),
                    other => panic!("`\\{other}` is no escape"),
                },
                (at, '"') => break at,
                (_, letter) => value.push(letter),
            }
        };
        labels.push((name.to_owned(), value));
        rest = &after[end + 1..];
        match rest.split_at(1) {
            (",", more) => rest = more,
            ("}", more) => return (labels, more),
            (other, _) => panic!("`{other}` follows a label"),
        }
    }
}

/// Reads all of it.
pub fn parse(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'), "the last line ends");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let (mut helped, mut current) = (BTreeSet::new(), String::new());
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').expect("help says something");
            assert!(is_name(name) && !text.is_empty());
            assert!(helped.insert(name.to_owned()), "`{name}` has help twice");
        } else if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, ty) = typed.split_once(' ').expect("a type");
            assert!(helped.contains(name), "`{name}` has a type and no help before it");
            assert!(["counter", "gauge", "histogram"].contains(&ty));
            assert_eq!(ty == "counter", name.ends_with("_total"), "{name}");
            current = name.to_owned();
            let family = Family {
                ty: ty.to_owned(),
                samples: Samples::new(),
            };
            assert!(
                families.insert(name.to_owned(), family).is_none(),
                "`{name}` has a type twice"
            );
        } else {
            let end = line.find(['{', ' ']).expect("a sample has a value");
            let (name, rest) = line.split_at(end);
            let (labels, value) = labels(rest);
            let value = value.strip_prefix(' ').expect("one blank before the value");
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("`{value}` is no number"));
            let family = families.get_mut(&current).expect("a family comes first");
            let parts: &[&str] = match family.ty.as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(
                parts.iter().any(|part| name == format!("{current}{part}")),
                "{name} in {current}"
            );
            let names: BTreeSet<_> = labels.iter().map(|(label, _)| label.clone()).collect();
            assert_eq!(names.len(), labels.len(), "a label twice: {line}");
            assert!(
                family.samples.insert((name.to_owned(), labels), value).is_none(),
                "twice: {line}"
            );
        }
    }
    families
        .iter()
        .filter(|(_, family)| family.ty == "histogram")
        .for_each(|(name, family)| histogram(name, family));
    families
}

/// Buckets grow, end with +Inf, and that is the count.
fn histogram(name: &str, family: &Family) {
    let mut series: BTreeMap<Vec<(String, String)>, Vec<(f64, f64)>> = BTreeMap::new();
    for ((sample, labels), value) in &family.samples {
        if *sample == format!("{name}_bucket") {
            let (le, others): (Vec<_>, Vec<_>) = labels.iter().cloned().partition(|(label, _)| label == "le");
            series
                .entry(others)
                .or_default()
                .push((le[0].1.parse().unwrap(), *value));
        }
    }
    for (labels, mut buckets) in series {
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        assert!(
            buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1),
            "{name} {labels:?} shrinks"
        );
        let (last, count) = *buckets.last().unwrap();
        assert_eq!(last, f64::INFINITY);
        assert_eq!(family.samples[&(format!("{name}_count"), labels.clone())], count);
        assert!(family.samples[&(format!("{name}_sum"), labels)] >= 0.0);
    }
}
