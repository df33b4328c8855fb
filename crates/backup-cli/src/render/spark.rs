//! Numbers as small pictures of text.

use std::env;

const BLOCKS: [char; 8] =
    ['\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}', '\u{2588}'];
/// Where the locale knows no blocks.
const PLAIN: [char; 8] = ['_', '.', ',', '-', '=', '+', '*', '#'];

/// One sign for each number, from zero to the highest.
pub(crate) fn sparkline(values: impl Iterator<Item = f64>) -> String {
    draw(&values.collect::<Vec<_>>(), if knows_blocks() { BLOCKS } else { PLAIN })
}

fn draw(values: &[f64], signs: [char; 8]) -> String {
    let highest = values.iter().copied().fold(0.0, f64::max);
    let sign = |value: &f64| {
        let share = if highest > 0.0 { value / highest } else { 0.0 };
        signs[((share * 8.0).ceil() as usize).clamp(1, 8) - 1]
    };
    values.iter().map(sign).collect()
}

/// `[####......]`.
pub(crate) fn bar(share: f64, width: usize) -> String {
    let filled = ((share.clamp(0.0, 1.0) * width as f64).round() as usize).min(width);
    format!("[{}{}]", "#".repeat(filled), ".".repeat(width - filled))
}

fn knows_blocks() -> bool {
    let set =
        ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| env::var(name).ok().filter(|v| !v.is_empty()));
    set.is_some_and(|locale| {
        let locale = locale.to_uppercase();
        locale.contains("UTF-8") || locale.contains("UTF8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_is_full_and_zero_is_low() {
        assert_eq!(draw(&[0.0, 1.0, 4.0, 8.0], PLAIN), "__-#");
        assert_eq!(draw(&[0.0, 0.0], PLAIN), "__");
        assert_eq!(draw(&[], PLAIN), "");
        assert_eq!(
            (bar(0.42, 10), bar(2.0, 3), bar(-1.0, 3)),
            ("[####......]".into(), "[###]".into(), "[...]".into())
        );
    }
}
