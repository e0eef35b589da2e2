//! From the places of written-out templates to those that stand in the text.

use std::collections::HashMap;

use crate::compile::{Place, Spans};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::source::Span;

/// What the label of a value says that a template was given.
pub const GIVEN: &str = "given here";

/// Which place of a copy is which place of the text.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// In the order of their copies.
    uses: Vec<Use>,
    /// Places of values that are a parameter's as a whole: where that was given.
    taken: HashMap<Span, Given>,
    /// Places of texts that hold parameters: where those were given.
    held: HashMap<Span, Vec<Span>>,
}

/// Where a value was given, and whether it is what the template itself says by default.
#[derive(Clone, Copy, Debug)]
struct Given {
    place: Span,
    by_default: bool,
}

/// One use of a template.
#[derive(Clone, Copy, Debug)]
struct Use {
    /// Where the copy begins.
    start: usize,
    /// The lines of the template.
    body: Span,
    /// Where it is used: in the text, or in an earlier copy.
    at: Span,
}

impl Places {
    /// Notes a copy.
    pub fn used(&mut self, start: usize, body: Span, at: Span) {
        self.uses.push(Use { start, body, at });
    }

    /// Notes a value that was given as a whole.
    pub fn taken(&mut self, place: Span, given: Span, by_default: bool) {
        let given = Given {
            place: given,
            by_default,
        };
        self.taken.insert(place, given);
    }

    /// Notes a text in which a value was written.
    pub fn held(&mut self, place: Span, given: Span) {
        self.held.entry(place).or_default().push(given);
    }

    fn of(&self, span: Span) -> Option<&Use> {
        let index = self
            .uses
            .partition_point(|one| one.start <= span.start)
            .checked_sub(1)?;
        let one = &self.uses[index];
        (span.start <= one.start + one.body.len()).then_some(one)
    }

    /// The place in the text.
    pub fn real(&self, span: Span) -> Span {
        match self.of(span) {
            Some(one) => {
                let start = span.start - one.start + one.body.start;
                Span::new(start, start + span.len())
            }
            None => span,
        }
    }

    /// Findings with places in the text. What is wrong with a value that was given to a template is wrong where it was
    /// given; what is wrong with a line of a template says also where that is used.
    pub fn shown(&self, found: Diagnostics) -> Diagnostics {
        let mut shown = Diagnostics::default();
        found.into_iter().for_each(|finding| shown.push(self.finding(finding)));
        shown
    }

    /// As [`shown`](Self::shown) for one.
    pub fn finding(&self, mut finding: Diagnostic) -> Diagnostic {
        if self.uses.is_empty() {
            return finding;
        }
        let labels = std::mem::take(&mut finding.labels);
        let mut behind: Vec<(Span, &str)> = Vec::new();
        for mut label in labels {
            let written = label.span;
            behind.extend(
                self.held
                    .get(&written)
                    .into_iter()
                    .flatten()
                    .map(|given| (*given, GIVEN)),
            );
            match self.given(written) {
                Some(given) => {
                    label.span = given.place;
                    behind.push((written, "filled in here"));
                    // A value that stands in a `use` says itself where that is.
                    if given.by_default {
                        self.used_at(written, &mut behind);
                    }
                }
                None => self.used_at(written, &mut behind),
            }
            label.span = self.real(label.span);
            finding.labels.push(label);
        }
        for (span, text) in behind {
            let span = self.real(span);
            if !finding.labels.iter().any(|label| label.span == span) {
                finding = finding.label(span, text);
            }
        }
        finding
    }

    /// Where the value that stands at a place was given first: a template may hand it on to another.
    fn given(&self, place: Span) -> Option<Given> {
        let mut given = *self.taken.get(&place)?;
        while let Some(before) = self.taken.get(&given.place) {
            given = *before;
        }
        Some(given)
    }

    /// The uses that a place is of, the innermost first.
    fn used_at(&self, place: Span, behind: &mut Vec<(Span, &str)>) {
        let mut place = place;
        while let Some(one) = self.of(place) {
            behind.push((one.at, "used here"));
            place = one.at;
        }
    }

    /// The places of a plan's parts, in the text.
    pub fn spans(&self, spans: Spans) -> Spans {
        if self.uses.is_empty() {
            return spans;
        }
        let place = |place: Place| Place {
            name: self.real(place.name),
            params: place
                .params
                .into_iter()
                .map(|(name, span)| (name, self.real(self.given(span).map_or(span, |given| given.place))))
                .collect(),
        };
        Spans {
            nodes: spans
                .nodes
                .into_iter()
                .map(|(name, node)| (name, place(node)))
                .collect(),
            ..spans
        }
    }
}
