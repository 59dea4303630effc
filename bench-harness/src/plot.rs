//! The ratios as a chart for a README: how many times the throughput, and how many times less CPU
//! for each message.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingBackend, IntoDrawingArea, Rectangle, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontFamily, IntoFont, RGBColor, ShapeStyle, TextStyle};

use crate::error::BenchError;
use crate::report::{Outcome, Report};

const WIDTH: i32 = 1000;
const LABEL_WIDTH: i32 = 400;
/// Right of the bars, for the number of the longest.
const NUMBER_WIDTH: i32 = 60;
const TOP: i32 = 92;
const ROW: i32 = 38;
const BAR: i32 = 13;
const BOTTOM: i32 = 30;

const THROUGHPUT: RGBColor = RGBColor(37, 99, 235);
const CPU: RGBColor = RGBColor(13, 148, 136);
const TEXT: RGBColor = RGBColor(31, 41, 55);
const FAINT: RGBColor = RGBColor(107, 114, 128);
const GRID: RGBColor = RGBColor(229, 231, 235);
const WHITE: RGBColor = RGBColor(255, 255, 255);

/// Draws the cases that have ratios.
///
/// # Errors
/// [`BenchError::Plot`].
pub fn draw(report: &Report, path: &Path) -> Result<(), BenchError> {
    let rows: Vec<Row<'_>> = report.outcomes.iter().filter_map(Row::of).collect();
    let height = TOP + ROW * rows.len() as i32 + BOTTOM;
    let area = SVGBackend::new(path, (WIDTH as u32, height as u32)).into_drawing_area();
    Chart::new(&area, &rows)
        .draw(report)
        .and_then(|()| area.present().map_err(|error| error.to_string()))
        .map_err(BenchError::Plot)
}

struct Row<'a> {
    title: &'a str,
    throughput: Option<f64>,
    cpu: Option<f64>,
}

impl<'a> Row<'a> {
    fn of(outcome: &'a Outcome) -> Option<Self> {
        // At a fixed rate both servers are equally fast.
        let throughput = outcome
            .throughput_ratio()
            .filter(|_| !outcome.case.scenario.is_paced());
        let cpu = outcome.cpu_ratio();
        (throughput.is_some() || cpu.is_some()).then_some(Self {
            title: &outcome.title,
            throughput,
            cpu,
        })
    }
}

struct Chart<'a, B: DrawingBackend> {
    area: &'a DrawingArea<B, Shift>,
    rows: &'a [Row<'a>],
    /// The ratio at the right end.
    most: f64,
}

impl<'a, B: DrawingBackend> Chart<'a, B> {
    fn new(area: &'a DrawingArea<B, Shift>, rows: &'a [Row<'a>]) -> Self {
        let ratios = rows.iter().flat_map(|row| [row.throughput, row.cpu]);
        let most = ratios.flatten().fold(2.0_f64, f64::max);
        Self { area, rows, most }
    }

    fn draw(&self, report: &Report) -> Result<(), String> {
        self.area.fill(&WHITE).map_err(|error| error.to_string())?;
        let names = (report.servers.first(), report.servers.last());
        let (first, last) = match names {
            (Some(first), Some(last)) => (first.name.as_str(), last.name.as_str()),
            _ => ("", ""),
        };
        self.text(
            &format!("{last} against {first}"),
            20,
            TEXT,
            (16, 14),
            HPos::Left,
        )?;
        let machine = report.machine.to_string();
        self.text(&machine, 14, FAINT, (16, 42), HPos::Left)?;
        self.legend()?;
        let bottom = TOP + ROW * self.rows.len() as i32;
        let step = step(self.most);
        for mark in (0..)
            .map(|it| f64::from(it) * step)
            .take_while(|&it| it <= self.most)
        {
            let at = self.x(mark);
            self.rectangle((at, TOP - 6), (at + 1, bottom), GRID)?;
            let label = format!("{mark}x");
            self.text(&label, 13, FAINT, (at, bottom + 8), HPos::Center)?;
        }
        let parity = self.x(1.0);
        self.rectangle((parity, TOP - 6), (parity + 1, bottom), FAINT)?;
        for (at, row) in self.rows.iter().enumerate() {
            let top = TOP + ROW * at as i32;
            let middle = (LABEL_WIDTH - 12, top + 8);
            self.text(row.title, 14, TEXT, middle, HPos::Right)?;
            for (ratio, color, down) in [(row.throughput, THROUGHPUT, 1), (row.cpu, CPU, 2 + BAR)] {
                if let Some(ratio) = ratio {
                    self.bar(ratio, color, top + down)?;
                }
            }
        }
        Ok(())
    }

    fn legend(&self) -> Result<(), String> {
        let entries = [
            (THROUGHPUT, "times the throughput", LABEL_WIDTH),
            (
                CPU,
                "times less server CPU for each message",
                LABEL_WIDTH + 190,
            ),
        ];
        for (color, text, left) in entries {
            self.rectangle((left, 64), (left + 12, 76), color)?;
            self.text(text, 14, TEXT, (left + 18, 64), HPos::Left)?;
        }
        Ok(())
    }

    fn bar(&self, ratio: f64, color: RGBColor, top: i32) -> Result<(), String> {
        let end = self.x(ratio);
        self.rectangle((self.x(0.0), top), (end, top + BAR), color)?;
        let label = format!("{ratio:.1}x");
        self.text(&label, 13, TEXT, (end + 5, top), HPos::Left)
    }

    fn x(&self, ratio: f64) -> i32 {
        let room = f64::from(WIDTH - LABEL_WIDTH - NUMBER_WIDTH);
        LABEL_WIDTH + (ratio / self.most * room).round() as i32
    }

    fn rectangle(&self, from: (i32, i32), to: (i32, i32), color: RGBColor) -> Result<(), String> {
        let style: ShapeStyle = color.filled();
        self.area
            .draw(&Rectangle::new([from, to], style))
            .map_err(|error| error.to_string())
    }

    fn text(
        &self,
        text: &str,
        size: i32,
        color: RGBColor,
        at: (i32, i32),
        anchor: HPos,
    ) -> Result<(), String> {
        let style = TextStyle::from((FontFamily::SansSerif, size).into_font())
            .color(&color)
            .pos(Pos::new(anchor, VPos::Top));
        self.area
            .draw_text(text, &style, at)
            .map_err(|error| error.to_string())
    }
}

/// Between two grid lines: at most nine of them.
fn step(most: f64) -> f64 {
    [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]
        .into_iter()
        .find(|step| most / step < 9.0)
        .unwrap_or(1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grid_lines_stay_few() {
        assert_eq!([2.0, 8.9, 9.0, 30.0].map(step), [1.0, 1.0, 2.0, 5.0]);
    }
}
