//! Plots as SVG, coloured by the page's style so that they follow light and dark. Crates that draw plots fix colours in the
//! picture, or need a script.

use maud::{Markup, html};

// Not much wider than a phone, so that text is not shrunk away there; the style lets it grow somewhat elsewhere.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 52.0;
/// About what a character takes.
const CHARACTER: f64 = 7.0;
/// Most characters of a name below the x axis.
const NAME: usize = 24;
/// Colours that the style has.
const COLOURS: usize = 8;
/// Most points of a cloud; of more, every so-manieth is drawn.
const MOST_POINTS: usize = 4000;

/// A point with its interval.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub x: f64,
    pub y: f64,
    pub interval: Option<(f64, f64)>,
}

impl Point {
    /// A point without an interval.
    pub(super) fn new(x: f64, y: f64) -> Point {
        Point { x, y, interval: None }
    }
}

/// Points that belong together.
#[derive(Debug, Clone)]
pub(super) struct Series {
    pub name: String,
    pub points: Vec<Point>,
}

impl Series {
    /// Numbers at the places 1, 2, 3 and so on.
    pub(super) fn by_place(name: &str, values: impl Iterator<Item = f64>) -> Series {
        Series {
            name: name.to_owned(),
            points: (1..)
                .zip(values)
                .map(|(place, value)| Point::new(f64::from(place), value))
                .collect(),
        }
    }

    /// Adds a point to the series of a name, which need not be there yet.
    pub(super) fn add(all: &mut Vec<Series>, name: &str, point: Point) {
        match all.iter_mut().find(|series| series.name == name) {
            Some(series) => series.points.push(point),
            None => all.push(Series {
                name: name.to_owned(),
                points: vec![point],
            }),
        }
    }
}

/// A frame with axes.
#[derive(Debug)]
pub(super) struct Plot<'a> {
    pub title: &'a str,
    pub x: &'a str,
    pub y: &'a str,
    /// Names of places on the x axis, where they are no numbers.
    pub names: Vec<(f64, String)>,
    /// A line across, such as "as fast as without".
    pub across: Option<f64>,
    pub series: Vec<Series>,
    /// Whether points are joined.
    pub joined: bool,
}

/// Numbers to a place in the picture.
struct Scale {
    from: (f64, f64),
    to: (f64, f64),
}

impl Scale {
    fn at(&self, value: f64) -> f64 {
        let share = (value - self.from.0) / (self.from.1 - self.from.0);
        self.to.0 + share.clamp(-0.05, 1.05) * (self.to.1 - self.to.0)
    }
}

/// Five or so round numbers between two.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let rough = ((high - low) / 5.0).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|n| n * power)
        .find(|step| *step >= rough)
        .unwrap_or(power * 10.0);
    // Floats, for what is to be drawn may lie anywhere.
    let first = (low / step).ceil();
    (0..12)
        .map(|n| (first + f64::from(n)) * step)
        .take_while(|tick| *tick <= high + step * 1e-9)
        .collect()
}

fn label(value: f64) -> String {
    let text = match value.abs() {
        size if size >= 1000.0 || size == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.01 => format!("{value:.3}"),
        _ => return format!("{value:.1e}"),
    };
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

impl<'a> Plot<'a> {
    /// Joined points over whole numbers, each of which is named.
    pub(super) fn over_numbers(title: &'a str, x: &'a str, y: &'a str, series: Vec<Series>) -> Plot<'a> {
        let places = series
            .iter()
            .flat_map(|series| &series.points)
            .map(|point| point.x);
        let mut places: Vec<f64> = places.collect();
        places.sort_by(f64::total_cmp);
        places.dedup();
        Plot {
            title,
            x,
            y,
            names: places.into_iter().map(|place| (place, label(place))).collect(),
            across: None,
            series,
            joined: true,
        }
    }

    /// `None` where there is nothing to draw.
    pub(super) fn markup(&self) -> Option<Markup> {
        let points = || {
            self.series
                .iter()
                .flat_map(|series| &series.points)
                .filter(|point| point.y.is_finite())
        };
        let (lowest, highest) = range(points().map(|point| point.y))?;
        // An interval that knows nothing would press the points together; it is drawn as far as the frame goes.
        let reach = 1.5 * (highest - lowest).max(0.2 * highest.abs());
        let ys = points()
            .flat_map(|point| {
                let (low, high) = point.interval.unwrap_or((point.y, point.y));
                [point.y, low.max(lowest - reach), high.min(highest + reach)]
            })
            .chain(self.across);
        let (mut low, mut high) = range(ys)?;
        let spare = ((high - low) * 0.06).max(high.abs() * 0.02).max(1e-12);
        // Bars of a height need their foot.
        low = if low >= 0.0 && low < 0.5 * high {
            0.0
        } else {
            low - spare
        };
        high += spare;
        let (first, last) = range(
            points()
                .map(|point| point.x)
                .chain(self.names.iter().map(|name| name.0)),
        )?;
        let side = if self.names.is_empty() {
            (last - first) * 0.02
        } else {
            0.5
        };
        let side = side.max(1e-9);
        let x = Scale {
            from: (first - side, last + side),
            to: (LEFT, WIDTH - RIGHT),
        };
        let y = Scale {
            from: (low, high),
            to: (HEIGHT - BOTTOM, TOP),
        };
        let x_ticks: Vec<(f64, String)> = match self.names.is_empty() {
            true => ticks(first, last)
                .into_iter()
                .map(|tick| (tick, label(tick)))
                .collect(),
            false => self.names.clone(),
        };
        let bottom = HEIGHT - BOTTOM;
        let chars = |name: &str| name.chars().count().min(NAME) as f64;
        let wanted: f64 = x_ticks
            .iter()
            .map(|(_, name)| (chars(name) + 1.0) * CHARACTER)
            .sum();
        let is_slanted = wanted > WIDTH - LEFT - RIGHT;
        // What a slanted name hangs down, below the room that a level one has.
        let longest = x_ticks.iter().map(|(_, name)| chars(name)).fold(0.0, f64::max);
        let hanging = if is_slanted {
            longest * CHARACTER * 0.6
        } else {
            0.0
        };
        let name_at = |at: f64| (fixed(x.at(at)), bottom + 18.0);
        Some(html! {
            svg viewBox=(format!("0 0 {WIDTH} {}", fixed(HEIGHT + hanging))) role="img" aria-label=(super::shown(self.title)) {
                @for tick in ticks(low, high) {
                    line.axis x1=(LEFT) x2=(WIDTH - RIGHT) y1=(fixed(y.at(tick))) y2=(fixed(y.at(tick))) {}
                    text.soft x=(LEFT - 6.0) y=(fixed(y.at(tick) + 4.0)) text-anchor="end" { (label(tick)) }
                }
                @for (tick, name) in &x_ticks {
                    @let short: String = name.chars().take(NAME).collect();
                    @let (name_x, name_y) = name_at(*tick);
                    @if is_slanted {
                        text.soft x=(name_x) y=(name_y) text-anchor="end" transform=(format!("rotate(-40 {name_x} {name_y})")) { (super::shown(&short)) }
                    } @else {
                        text.soft x=(name_x) y=(name_y) text-anchor="middle" { (super::shown(&short)) }
                    }
                }
                text x=(WIDTH / 2.0) y=(fixed(HEIGHT + hanging - 10.0)) text-anchor="middle" { (self.x) }
                text x="14" y=(HEIGHT / 2.0) text-anchor="middle" transform=(format!("rotate(-90 14 {})", HEIGHT / 2.0)) { (self.y) }
                @if let Some(across) = self.across {
                    line stroke="currentColor" stroke-dasharray="4 4" x1=(LEFT) x2=(WIDTH - RIGHT) y1=(fixed(y.at(across))) y2=(fixed(y.at(across))) {}
                }
                @for (at, series) in self.series.iter().enumerate() { (self.drawn(at, series, &x, &y)) }
            }
            (self.legend())
        })
    }

    fn drawn(&self, at: usize, series: &Series, x: &Scale, y: &Scale) -> Markup {
        let step = series.points.len().div_ceil(MOST_POINTS).max(1);
        let points = || {
            series
                .points
                .iter()
                .step_by(step)
                .filter(|point| point.y.is_finite())
        };
        // Intervals of several series stand beside each other.
        let shift = |point: &Point| match point.interval {
            Some(_) if self.series.len() > 1 => (at as f64 - (self.series.len() - 1) as f64 / 2.0) * 5.0,
            _ => 0.0,
        };
        let path: String = points()
            .map(|point| {
                format!(
                    "{},{} ",
                    fixed(x.at(point.x) + shift(point)),
                    fixed(y.at(point.y))
                )
            })
            .collect();
        let radius = if self.joined { 3.5 } else { 2.0 };
        html! {
            g class=(format!("c{}", at % COLOURS)) {
                @if self.joined { polyline.stroke points=(path.trim_end()) {} }
                @for point in points() {
                    @let (px, py) = (x.at(point.x) + shift(point), y.at(point.y));
                    @if let Some((low, high)) = point.interval {
                        line.stroke x1=(fixed(px)) x2=(fixed(px)) y1=(fixed(y.at(low))) y2=(fixed(y.at(high))) {}
                    }
                    (mark(at, px, py, radius))
                }
            }
        }
    }

    fn legend(&self) -> Markup {
        legend(self.series.iter().map(|series| series.name.as_str()))
    }
}

/// The names of series, outside of the picture so that they wrap as text does.
fn legend<'n>(names: impl Iterator<Item = &'n str>) -> Markup {
    html! {
        ul.legend {
            @for (at, name) in names.enumerate() {
                li {
                    svg viewBox="0 0 14 14" aria-hidden="true" { g class=(format!("c{}", at % COLOURS)) { (mark(at, 7.0, 7.0, 4.5)) } }
                    (super::shown(name))
                }
            }
        }
    }
}

/// A mark of a shape of its own, so that series differ without their colours too.
fn mark(at: usize, x: f64, y: f64, size: f64) -> Markup {
    let polygon = |corners: &[(f64, f64)]| -> String {
        corners
            .iter()
            .map(|(dx, dy)| format!("{},{} ", fixed(x + dx * size), fixed(y + dy * size)))
            .collect()
    };
    match at % 4 {
        0 => html! { circle.fill cx=(fixed(x)) cy=(fixed(y)) r=(size) {} },
        1 => {
            html! { polygon.fill points=(polygon(&[(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]).trim_end()) {} }
        }
        2 => html! { polygon.fill points=(polygon(&[(0.0, -1.3), (1.2, 1.0), (-1.2, 1.0)]).trim_end()) {} },
        _ => {
            html! { polygon.fill points=(polygon(&[(0.0, -1.4), (1.4, 0.0), (0.0, 1.4), (-1.4, 0.0)]).trim_end()) {} }
        }
    }
}

/// Bars from the left, one a part.
pub(super) fn bars(title: &str, parts: &[(String, f64, String)]) -> Option<Markup> {
    let most = parts.iter().map(|part| part.1).fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    let height = 26.0 * parts.len() as f64 + 8.0;
    let (left, right) = (215.0, 85.0);
    Some(html! {
        svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label=(super::shown(title)) {
            @for (at, (name, value, told)) in parts.iter().enumerate() {
                @let y = 26.0 * at as f64 + 4.0;
                @let length = value / most * (WIDTH - left - right);
                text x=(left - 8.0) y=(y + 15.0) text-anchor="end" { (super::shown(name)) }
                g.c0 { rect.fill x=(left) y=(y) width=(fixed(length)) height="20" {} }
                text.soft x=(fixed(left + length + 6.0)) y=(y + 15.0) { (super::shown(told)) }
            }
        }
    })
}

/// Marks in rows and columns, one a cell, of a colour and shape for each kind.
#[derive(Debug)]
pub(super) struct Grid<'a> {
    pub title: &'a str,
    /// What the columns are.
    pub x: &'a str,
    pub columns: Vec<String>,
    pub rows: Vec<String>,
    pub kinds: Vec<String>,
    /// Column, row, kind, and what is said of the cell where someone points at it.
    pub cells: Vec<(usize, usize, usize, String)>,
}

impl Grid<'_> {
    /// `None` where there is nothing to draw.
    pub(super) fn markup(&self) -> Option<Markup> {
        const ROW: f64 = 16.0;
        const HEAD: f64 = 24.0;
        if self.cells.is_empty() {
            return None;
        }
        let chars = |name: &String| name.chars().count().min(NAME) as f64;
        let left = self.rows.iter().map(chars).fold(0.0, f64::max) * CHARACTER + 8.0;
        let column = ((WIDTH - left - RIGHT) / self.columns.len().max(1) as f64).min(ROW * 1.5);
        let right = left + self.columns.len() as f64 * column;
        let size = (column.min(ROW) * 0.38).max(1.0);
        // Names of columns stand apart.
        let named = |name: &String| (chars(name) + 1.0) * CHARACTER;
        let widest = self.columns.iter().map(named).fold(1.0, f64::max);
        let step = (widest / column).ceil().max(1.0) as usize;
        let x = |at: usize| left + (at as f64 + 0.5) * column;
        let y = |at: usize| HEAD + (at as f64 + 0.5) * ROW;
        let height = HEAD + self.rows.len() as f64 * ROW + 24.0;
        Some(html! {
            svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label=(super::shown(self.title)) {
                @for (at, name) in self.columns.iter().enumerate().step_by(step) {
                    text.soft x=(fixed(x(at))) y=(HEAD - 8.0) text-anchor="middle" { (super::shown(name)) }
                }
                @for (at, name) in self.rows.iter().enumerate() {
                    @let short: String = name.chars().take(NAME).collect();
                    line.axis x1=(fixed(left)) x2=(fixed(right)) y1=(fixed(y(at))) y2=(fixed(y(at))) {}
                    text.cell x=(fixed(left - 6.0)) y=(fixed(y(at) + 4.0)) text-anchor="end" { (super::shown(&short)) }
                }
                @for (column, row, kind, told) in &self.cells {
                    g class=(format!("c{}", kind % COLOURS)) {
                        title { (super::shown(told)) }
                        (mark(*kind, x(*column), y(*row), size))
                    }
                }
                text x=(fixed((left + right) / 2.0)) y=(fixed(height - 6.0)) text-anchor="middle" { (self.x) }
            }
            (legend(self.kinds.iter().map(String::as_str)))
        })
    }
}

fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values
        .filter(|value| value.is_finite())
        .fold(None, |range: Option<(f64, f64)>, value| match range {
            Some((low, high)) => Some((low.min(value), high.max(value))),
            None => Some((value, value)),
        })
}

/// A place in the picture, a tenth of a unit exact.
fn fixed(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks(0.0, 10.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        for (low, high) in [(0.91, 1.47), (-3.0, 5000.0), (1.0, 1.0)] {
            let ticks = ticks(low, high);
            assert!(
                ticks.len() <= 12 && ticks.iter().all(|tick| *tick <= high + 1e-9),
                "{ticks:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_drawn_is_left_out_or_kept_inside() {
        let plot = |points: Vec<Point>| Plot {
            title: "<b>",
            x: "x",
            y: "y",
            names: Vec::new(),
            across: None,
            series: vec![Series {
                name: "</svg><script>".to_owned(),
                points,
            }],
            joined: true,
        };
        let point = |y| Point::new(1.0, y);
        assert!(plot(Vec::new()).markup().is_none());
        assert!(plot(vec![point(f64::NAN)]).markup().is_none());
        let drawn = plot(vec![point(0.0), point(f64::INFINITY), point(0.0)])
            .markup()
            .unwrap()
            .into_string();
        assert!(
            !drawn.contains("NaN") && !drawn.contains("inf") && !drawn.contains("<script>"),
            "{drawn}"
        );
    }
}
