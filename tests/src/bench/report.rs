//! The rows of a benchmark, as a table for people and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::statistics::Summary;

/// Everything that was measured.
#[derive(Clone, Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
    notes: Vec<String>,
}

/// One figure.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it belongs to; rows of a section follow each other.
    pub section: String,
    /// What was measured.
    pub name: String,
    /// Of the figure.
    pub unit: &'static str,
    /// The figure.
    pub summary: Summary,
    /// What it should be, where there is a goal.
    pub goal: Option<Goal>,
}

/// A bound on a median.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// The median is no larger.
    AtMost(f64),
    /// The median is no smaller.
    AtLeast(f64),
}

impl Goal {
    /// Whether the summary's median keeps to it.
    #[must_use]
    pub fn is_met(&self, summary: &Summary) -> bool {
        match *self {
            Self::AtMost(bound) => summary.median <= bound,
            Self::AtLeast(bound) => summary.median >= bound,
        }
    }

    fn to_text(self) -> String {
        match self {
            Self::AtMost(bound) => format!("≤ {}", number(bound)),
            Self::AtLeast(bound) => format!("≥ {}", number(bound)),
        }
    }
}

impl Report {
    /// Adds a figure without a goal; nothing where there are no samples.
    pub fn figure(
        &mut self,
        section: impl Into<String>,
        name: impl Into<String>,
        unit: &'static str,
        samples: &[f64],
    ) {
        self.add(section.into(), name.into(), unit, samples, None);
    }

    /// Adds a figure that has a goal; nothing where there are no samples.
    pub fn judged(
        &mut self,
        section: impl Into<String>,
        name: impl Into<String>,
        unit: &'static str,
        samples: &[f64],
        goal: Goal,
    ) {
        self.add(section.into(), name.into(), unit, samples, Some(goal));
    }

    /// Says something that no figure says: what was left out, and why.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    fn add(
        &mut self,
        section: String,
        name: String,
        unit: &'static str,
        samples: &[f64],
        goal: Option<Goal>,
    ) {
        if let Some(summary) = Summary::of(samples) {
            self.rows.push(Row {
                section,
                name,
                unit,
                summary,
                goal,
            });
        }
    }

    /// The rows.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// A Markdown table a section.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for row in &self.rows {
            if row.section != section {
                section = &row.section;
                let _infallible: std::fmt::Result = write!(
                    text,
                    "\n### {section}\n\n| what | median | quartiles | n | goal | verdict |\n\
                     |---|---:|---:|---:|---:|---|\n"
                );
            }
            let Summary {
                median,
                lower,
                upper,
                n,
            } = row.summary;
            let (goal, verdict) = match row.goal {
                None => (String::new(), ""),
                Some(goal) if goal.is_met(&row.summary) => (goal.to_text(), "met"),
                Some(goal) => (goal.to_text(), "**short**"),
            };
            let _infallible: std::fmt::Result = writeln!(
                text,
                "| {} | {} {} | {} … {} | {n} | {goal} | {verdict} |",
                row.name,
                number(median),
                row.unit,
                number(lower),
                number(upper),
            );
        }
        for note in &self.notes {
            let _infallible: std::fmt::Result = write!(text, "\n- {note}");
        }
        text
    }

    /// The same for programs; `about` says how it was measured.
    #[must_use]
    pub fn to_json(&self, about: &Value) -> Value {
        let rows = self.rows.iter().map(|row| {
            let (bound, limit) = match row.goal {
                None => (Value::Null, Value::Null),
                Some(Goal::AtMost(limit)) => (json!("at_most"), json!(limit)),
                Some(Goal::AtLeast(limit)) => (json!("at_least"), json!(limit)),
            };
            json!({
                "section": row.section,
                "name": row.name,
                "unit": row.unit,
                "summary": row.summary.to_json(),
                "bound": bound,
                "limit": limit,
                "met": row.goal.map(|goal| goal.is_met(&row.summary)),
            })
        });
        json!({
            "about": about,
            "rows": rows.collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }
}

/// Three significant digits or so.
fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else if magnitude >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_whether_its_goal_is_met() {
        let mut report = Report::default();
        report.judged("cost", "filter", "ns", &[3.0], Goal::AtMost(4.0));
        report.judged("cost", "ratio", "×", &[2.5], Goal::AtLeast(3.0));
        report.figure("cost", "floor", "ns", &[21.0]);
        report.figure("cost", "not measured", "ns", &[]);
        let text = report.to_markdown();
        assert!(
            text.contains("| filter | 3 ns | 3 … 3 | 1 | ≤ 4 | met |"),
            "{text}"
        );
        assert!(
            text.contains("| ratio | 2.50 × | 2.50 … 2.50 | 1 | ≥ 3 | **short** |"),
            "{text}"
        );
        assert!(!text.contains("not measured"));
        let json = report.to_json(&json!({}));
        assert_eq!(json["rows"][0]["met"], true);
        assert_eq!(json["rows"][2]["met"], Value::Null);
    }
}
