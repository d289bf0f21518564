// SPDX-License-Identifier: GPL-2.0

//! What pictures are drawn on: an SVG, or pixels, two for each of the SVG's in each direction.

use ab_glyph::{Font, FontRef, ScaleFont, point};
use anyhow::{Context, Result};
use plotters::{
    coord::Shift,
    drawing::DrawingAreaErrorKind,
    prelude::{BitMapBackend, DrawingArea, DrawingBackend, IntoDrawingArea, SVGBackend},
    style::{Color, FontStyle, IntoFont, RGBColor, TextStyle, register_font},
};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingErrorKind,
    text_anchor::{HPos, Pos, VPos},
};
use std::{
    error::Error,
    io,
    sync::{LazyLock, Once},
};

/// A part of a canvas.
pub type Area<'a> = DrawingArea<Canvas<'a>, Shift>;

/// What drawing on an area results in.
pub type Drawn<T = ()> = Result<T, DrawingAreaErrorKind<io::Error>>;

/// The pixels for each of the SVG's, in each direction.
const FINE: i32 = 2;

/// The family of the font, as SVGs call it. Layout has room for DejaVu Sans, which is wide.
const FAMILY: &str = "sans-serif";
static FONT: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    FontRef::try_from_slice(dejavu::sans::regular()).expect("the font of the crate is valid")
});

/// What SVG's sizes are smaller by than those of plotters.
const EM: f32 = 1.24;
/// The height of the font's small letters, in its size.
const EX: f32 = 0.547;

/// Lets plotters know the font.
fn know_font() {
    static KNOWN: Once = Once::new();
    KNOWN.call_once(|| {
        let known = register_font(FAMILY, FontStyle::Normal, dejavu::sans::regular());
        assert!(known.is_ok(), "the font of the crate is valid");
    });
}

/// Draws an SVG of this size.
///
/// # Errors
///
/// If `draw` fails.
pub fn svg(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn) -> Result<String> {
    know_font();
    let mut text = String::new();
    let canvas = Canvas::Svg(SVGBackend::with_string(&mut text, size));
    draw(&canvas.into_drawing_area()).context("cannot draw an SVG")?;
    Ok(text)
}

/// Draws a PNG of this size, with more pixels.
///
/// # Errors
///
/// If `draw` fails.
pub fn png(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn) -> Result<Vec<u8>> {
    know_font();
    let fine = FINE.unsigned_abs();
    let (width, height) = (size.0 * fine, size.1 * fine);
    let mut pixels = vec![0; width as usize * height as usize * 3];
    let canvas = BitMapBackend::with_buffer(&mut pixels, (width, height));
    draw(&Canvas::Pixels(canvas).into_drawing_area()).context("cannot draw a PNG")?;
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header()?.write_image_data(&pixels)?;
    Ok(file)
}

/// The style of text: its size, colour, and what of it is at its place.
pub fn text(size: u32, colour: RGBColor, at: HPos) -> TextStyle<'static> {
    TextStyle {
        color: colour.to_backend_color(),
        pos: Pos::new(at, VPos::Center),
        ..TextStyle::from((FAMILY, size).into_font())
    }
}

/// The width of text.
pub fn width(text: &str, size: u32) -> u32 {
    know_font();
    let measured = (FAMILY, size).into_font().box_size(text);
    measured.map_or(0, |(width, _)| width)
}

/// The width of the widest of these.
pub fn widest<'a>(texts: impl IntoIterator<Item = &'a String>, size: u32) -> u32 {
    let widths = texts.into_iter().map(|text| width(text, size));
    widths.max().unwrap_or(0)
}

/// As much of the text as there is room for.
pub fn fit(text: &str, size: u32, room: u32) -> String {
    if width(text, size) <= room {
        return text.into();
    }
    let ends = text.char_indices().map(|(end, _)| end).rev();
    let mut cuts = ends.map(|end| format!("{}…", text[..end].trim_end()));
    (cuts.find(|cut| width(cut, size) <= room)).unwrap_or_else(|| "…".into())
}

/// An SVG, or pixels.
pub enum Canvas<'a> {
    /// An SVG.
    Svg(SVGBackend<'a>),
    /// Pixels.
    Pixels(BitMapBackend<'a>),
}

/// What drawing on a canvas results in.
type Done = Result<(), DrawingErrorKind<io::Error>>;

/// A style for pixels.
struct Fine<'a, S>(&'a S);

impl<S: BackendStyle> BackendStyle for Fine<'_, S> {
    fn color(&self) -> BackendColor {
        self.0.color()
    }

    fn stroke_width(&self) -> u32 {
        self.0.stroke_width() * FINE.unsigned_abs()
    }
}

fn fine((x, y): BackendCoord) -> BackendCoord {
    (x * FINE, y * FINE)
}

/// Makes an error one of reading and writing.
fn told<E: Error + Send + Sync + 'static>(drawn: Result<(), DrawingErrorKind<E>>) -> Done {
    drawn.map_err(|e| match e {
        DrawingErrorKind::DrawingError(e) => DrawingErrorKind::DrawingError(io::Error::other(e)),
        DrawingErrorKind::FontError(e) => DrawingErrorKind::FontError(e),
    })
}

impl DrawingBackend for Canvas<'_> {
    type ErrorType = io::Error;

    fn get_size(&self) -> (u32, u32) {
        match self {
            Canvas::Svg(svg) => svg.get_size(),
            Canvas::Pixels(pixels) => {
                let (width, height) = pixels.get_size();
                (width / FINE.unsigned_abs(), height / FINE.unsigned_abs())
            }
        }
    }

    fn ensure_prepared(&mut self) -> Done {
        match self {
            Canvas::Svg(svg) => told(svg.ensure_prepared()),
            Canvas::Pixels(pixels) => told(pixels.ensure_prepared()),
        }
    }

    fn present(&mut self) -> Done {
        match self {
            Canvas::Svg(svg) => told(svg.present()),
            Canvas::Pixels(pixels) => told(pixels.present()),
        }
    }

    fn draw_pixel(&mut self, at: BackendCoord, colour: BackendColor) -> Done {
        match self {
            Canvas::Svg(svg) => told(svg.draw_pixel(at, colour)),
            Canvas::Pixels(pixels) => {
                let (from, to) = (fine(at), fine((at.0 + 1, at.1 + 1)));
                told(pixels.draw_rect(from, to, &colour, true))
            }
        }
    }

    fn draw_line<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
    ) -> Done {
        match self {
            Canvas::Svg(svg) => told(svg.draw_line(from, to, style)),
            Canvas::Pixels(pixels) => told(pixels.draw_line(fine(from), fine(to), &Fine(style))),
        }
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
        fill: bool,
    ) -> Done {
        match self {
            Canvas::Svg(svg) => told(svg.draw_rect(from, to, style, fill)),
            Canvas::Pixels(pixels) => {
                told(pixels.draw_rect(fine(from), fine(to), &Fine(style), fill))
            }
        }
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Done {
        match self {
            Canvas::Svg(svg) => told(svg.draw_path(path, style)),
            Canvas::Pixels(pixels) => {
                told(pixels.draw_path(path.into_iter().map(fine), &Fine(style)))
            }
        }
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        centre: BackendCoord,
        radius: u32,
        style: &S,
        fill: bool,
    ) -> Done {
        match self {
            Canvas::Svg(svg) => told(svg.draw_circle(centre, radius, style, fill)),
            Canvas::Pixels(pixels) => {
                let radius = radius * FINE.unsigned_abs();
                told(pixels.draw_circle(fine(centre), radius, &Fine(style), fill))
            }
        }
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Done {
        match self {
            Canvas::Svg(svg) => told(svg.fill_polygon(path, style)),
            Canvas::Pixels(pixels) => {
                told(pixels.fill_polygon(path.into_iter().map(fine), &Fine(style)))
            }
        }
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, at: BackendCoord) -> Done {
        // XML has no place for some characters.
        let is_plain = |c: char| !c.is_control() && !('\u{fffe}'..='\u{ffff}').contains(&c);
        let plain = |c: char| if is_plain(c) { c } else { '\u{fffd}' };
        let text: String = text.chars().map(plain).collect();
        match self {
            Canvas::Svg(svg) => told(svg.draw_text(&text, style, at)),
            Canvas::Pixels(pixels) => write(pixels, &text, style, fine(at)),
        }
    }
}

/// Writes text. The library's own way of drawing text
/// puts each letter at a whole pixel and forgets what is left free beside it.
fn write<S: BackendTextStyle>(
    pixels: &mut BitMapBackend<'_>,
    text: &str,
    style: &S,
    at: BackendCoord,
) -> Done {
    let em = style.size() as f32 / EM * FINE as f32;
    let units = FONT.units_per_em().unwrap_or(1.0);
    let font = FONT.as_scaled(em * FONT.height_unscaled() / units);
    let mut glyphs = Vec::new();
    let mut x = 0.0;
    let mut last = None;
    for c in text.chars() {
        let id = font.glyph_id(c);
        x += last.map_or(0.0, |last| font.kern(last, id));
        glyphs.push((id, x));
        x += font.h_advance(id);
        last = Some(id);
    }
    let left = match style.anchor().h_pos {
        HPos::Left => 0.0,
        HPos::Center => x / 2.0,
        HPos::Right => x,
    };
    // As in the SVG: 0.76em, 0.5ex, -0.5ex.
    let below = match style.anchor().v_pos {
        VPos::Top => 0.76,
        VPos::Center => EX / 2.0,
        VPos::Bottom => -EX / 2.0,
    };
    let start = point(at.0 as f32 - left, at.1 as f32 + em * below);
    let (wide, high) = pixels.get_size();
    for (id, x) in glyphs {
        let glyph = id.with_scale_and_position(font.scale(), point(start.x + x, start.y));
        let Some(outline) = FONT.outline_glyph(glyph) else {
            continue;
        };
        let corner = outline.px_bounds().min;
        let mut drawn = Ok(());
        outline.draw(|x, y, coverage| {
            let at = (corner.x as i32 + x as i32, corner.y as i32 + y as i32);
            let is_inside = (0..wide as i32).contains(&at.0) && (0..high as i32).contains(&at.1);
            if drawn.is_ok() && is_inside && coverage > 0.0 {
                let colour = style.color().mix(coverage.min(1.0).into());
                drawn = pixels.draw_pixel(at, colour);
            }
        });
        told(drawn)?;
    }
    Ok(())
}
