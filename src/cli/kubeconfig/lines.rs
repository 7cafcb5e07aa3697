//! Edits one entry of one top-level list in a YAML text and leaves every other line as it is.
//!
//! It knows block YAML as kubectl and people write it. Whatever it does not recognise it gives up on, and what it makes
//! is compared with the value it should be by [`super::document`], so a wrong guess costs comments, never content.

use super::node::Node;

/// Puts `item` into the list `section`, in place of the entry at `place` or at the end; `None` where it cannot tell how.
pub(super) fn put(text: &str, section: &str, place: Option<usize>, item: &Node) -> Option<String> {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    if let Some(last) = lines.last_mut().filter(|line| !line.ends_with('\n')) {
        last.push('\n');
    }
    if lines.iter().any(|line| line.starts_with("---") || line.starts_with("...") || line.starts_with('%')) {
        return None;
    }
    let Some(heading) = lines.iter().position(|line| rest_of_key(line, section).is_some()) else {
        lines.push(format!("{section}:\n"));
        lines.extend(written(item, 0)?);
        return Some(lines.concat());
    };
    let rest = rest_of_key(lines.get(heading)?, section)?.trim();
    let rest = if rest.starts_with('#') { "" } else { rest };
    let body = heading + 1;
    let end = body + lines.iter().skip(body).take_while(|line| !is_key(line)).count();
    if matches!(rest, "[]" | "null" | "~") {
        *lines.get_mut(heading)? = format!("{section}:\n");
        return spliced(lines, body..body, item, 0);
    }
    if !rest.is_empty() {
        return None;
    }
    let starts = |indent: usize| {
        let numbered = lines.iter().enumerate().take(end).skip(body);
        numbered.filter(move |(_, line)| is_item(line, indent)).map(|(at, _)| at).collect::<Vec<_>>()
    };
    let first = lines.iter().take(end).skip(body).find(|line| !is_blank(line));
    let indent = first.map_or(0, |line| line.len() - line.trim_start_matches(' ').len());
    let starts = starts(indent);
    let content_end = |from: usize, to: usize| {
        let trailing = lines.iter().take(to).skip(from).rev().take_while(|line| is_blank(line)).count();
        to - trailing
    };
    match place {
        Some(place) => {
            let start = *starts.get(place)?;
            let next = starts.get(place + 1).copied().unwrap_or(end);
            let range = start..content_end(start, next);
            spliced(lines, range, item, indent)
        }
        None => {
            let at = content_end(body, end);
            spliced(lines, at..at, item, indent)
        }
    }
}

fn spliced(mut lines: Vec<String>, range: std::ops::Range<usize>, item: &Node, indent: usize) -> Option<String> {
    lines.splice(range, written(item, indent)?);
    Some(lines.concat())
}

/// An entry as the lines of a block list.
fn written(item: &Node, indent: usize) -> Option<Vec<String>> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let text = serde_saphyr::to_string_with_options(&[item], options).ok()?;
    Some(text.lines().map(|line| format!("{}{line}\n", " ".repeat(indent))).collect())
}

/// What follows the colon, if this line is the top-level key.
fn rest_of_key<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(key)?.strip_prefix(':')?;
    (rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n'])).then_some(rest)
}

/// Something at the left edge that belongs to the top level: neither an item, a comment nor nothing.
fn is_key(line: &str) -> bool {
    !is_blank(line) && !line.starts_with(' ') && !is_item(line, 0)
}

fn is_item(line: &str, indent: usize) -> bool {
    let rest = line.strip_prefix(&" ".repeat(indent)).and_then(|rest| rest.strip_prefix('-'));
    rest.is_some_and(|rest| rest.starts_with([' ', '\r', '\n']))
}

fn is_blank(line: &str) -> bool {
    let text = line.trim();
    text.is_empty() || text.starts_with('#')
}
