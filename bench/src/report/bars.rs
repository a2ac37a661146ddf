//! Bars in SVG, with the range of their rounds. Colours follow the reader's light or dark scheme;
//! the description says in words what the bars show.

use std::fmt::Write as _;

use super::statistics::Spread;

/// A plot: panels below each other, with what is said of them.
pub(super) struct Plot<'a> {
    pub(super) title: &'a str,
    pub(super) note: &'a str,
    /// Where and when.
    pub(super) place: &'a str,
    pub(super) panels: Vec<Panel>,
}

/// A heading and its bars.
pub(super) struct Panel {
    pub(super) heading: String,
    pub(super) rows: Vec<Row>,
    /// A bar ends here, and its number says how long it would be.
    pub(super) longest: f64,
    /// Where there is a line: what 1.00 is.
    pub(super) is_ratio: bool,
}

pub(super) struct Row {
    pub(super) label: String,
    pub(super) class: &'static str,
    pub(super) value: Spread,
}

pub(super) const WIDTH: f64 = 760.0;
pub(super) const LEFT: f64 = 210.0;
pub(super) const RIGHT: f64 = 110.0;
const TOP: f64 = 66.0;
const HEADING: f64 = 34.0;
const ROW: f64 = 22.0;
const BAR: f64 = 14.0;

const STYLE: &str = "
text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328; }
.value { paint-order: stroke; stroke: #ffffff; stroke-width: 3px; }
.title { font-size: 16px; font-weight: 600; }
.heading { font-weight: 600; }
.note { font-size: 12px; fill: #59636e; }
.page { fill: #ffffff; }
.open { fill: #c8cfd7; }
.login { fill: #8c959f; }
.own { fill: #1a7f5a; }
.one, .range { stroke: #1f2328; }
.one { stroke-dasharray: 2 3; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; }
  .value { stroke: #0d1117; }
  .note { fill: #9198a1; }
  .page { fill: #0d1117; }
  .open { fill: #3d444d; }
  .login { fill: #656c76; }
  .own { fill: #2ea877; }
  .one, .range { stroke: #f0f6fc; }
}
";

impl Plot<'_> {
    pub(super) fn svg(&self) -> String {
        let (mut drawn, mut said) = (String::new(), String::new());
        let mut y = TOP;
        for panel in &self.panels {
            y += HEADING;
            let _ = writeln!(
                drawn,
                "<text class=\"heading\" x=\"16\" y=\"{}\">{}</text>",
                y - 10.0,
                escaped(&panel.heading)
            );
            let _ = write!(said, "{}:", panel.heading);
            let scale = panel.scale();
            if panel.is_ratio {
                let one = LEFT + scale;
                #[expect(clippy::cast_precision_loss, reason = "a few")]
                let end = y + ROW * panel.rows.len() as f64 - 4.0;
                let _ = writeln!(
                    drawn,
                    "<line class=\"one\" x1=\"{one:.1}\" y1=\"{y}\" x2=\"{one:.1}\" y2=\"{end}\"/>"
                );
            }
            for row in &panel.rows {
                panel.bar(&mut drawn, row, y, scale);
                let _ = write!(said, " {} {},", row.label, panel.number(row.value.median));
                y += ROW;
            }
            said.truncate(said.len() - 1);
            said.push_str(". ");
        }
        let height = y + 16.0;
        let [title, note, place] = [self.title, self.note, self.place].map(escaped);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" role=\"img\" aria-labelledby=\"title description\">\n\
             <title id=\"title\">{title}</title>\n\
             <desc id=\"description\">{note} {}{place}.</desc>\n\
             <style>{STYLE}</style>\n\
             <rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\" rx=\"6\"/>\n\
             <text class=\"title\" x=\"16\" y=\"26\">{title}</text>\n\
             <text class=\"note\" x=\"16\" y=\"46\">{note}</text>\n\
             <text class=\"note\" x=\"16\" y=\"64\">{place}</text>\n\
             {drawn}</svg>\n",
            escaped(&said)
        )
    }
}

impl Panel {
    /// How long 1.00 is, so that the longest of its bars fits.
    fn scale(&self) -> f64 {
        let longest = self.rows.iter().map(|row| row.value.high);
        (WIDTH - LEFT - RIGHT) / longest.fold(1.0, f64::max).min(self.longest)
    }

    fn number(&self, value: f64) -> String {
        if self.is_ratio {
            format!("{value:.2}")
        } else if value < 100.0 {
            format!("{value:.1}")
        } else {
            format!("{value:.0}")
        }
    }

    fn bar(&self, drawn: &mut String, row: &Row, y: f64, scale: f64) {
        let value = row.value;
        let at = |value: f64| LEFT + scale * value.min(self.longest);
        let middle = y + BAR / 2.0;
        let _ = writeln!(
            drawn,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y + 11.5,
            escaped(&row.label)
        );
        let _ = writeln!(
            drawn,
            "<rect class=\"{}\" x=\"{LEFT}\" y=\"{y}\" width=\"{:.1}\" height=\"{BAR}\"/>",
            row.class,
            at(value.median) - LEFT
        );
        if value.high - value.low > 0.005 && value.low < self.longest {
            let _ = writeln!(
                drawn,
                "<line class=\"range\" x1=\"{:.1}\" y1=\"{middle}\" x2=\"{:.1}\" y2=\"{middle}\"/>",
                at(value.low),
                at(value.high)
            );
        }
        let cut = if value.median > self.longest {
            "» "
        } else {
            ""
        };
        let _ = writeln!(
            drawn,
            "<text class=\"value\" x=\"{:.1}\" y=\"{}\">{cut}{}</text>",
            at(value.high.max(value.median)) + 6.0,
            y + 11.5,
            self.number(value.median)
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
