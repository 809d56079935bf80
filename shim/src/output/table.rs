//! Columns, aligned as Docker's are: by the rules of Go's `text/tabwriter` (pkg.go.dev/text/tabwriter) with its
//! settings, which are a smallest width of 10 and 3 spaces between columns.

/// Narrowest column, in characters.
const WIDTH_MIN: usize = 10;
/// The same of `top`.
const WIDE_MIN: usize = 20;
/// Spaces behind the widest cell of a column.
const PADDING: usize = 3;

/// Aligns lines whose cells end in tabs. What stands behind the last tab of a line belongs to no column.
#[must_use]
pub fn align(text: &str) -> String {
    align_to(text, WIDTH_MIN)
}

/// The same with columns of 20 at least, as `docker top` has them.
#[must_use]
pub fn align_wide(text: &str) -> String {
    align_to(text, WIDE_MIN)
}

fn align_to(text: &str, width_min: usize) -> String {
    let lines: Vec<Vec<&str>> = text.split('\n').map(|line| line.split('\t').collect()).collect();
    let mut aligned = String::with_capacity(text.len() * 2);
    columns(&lines, width_min, &mut Vec::new(), &mut aligned);
    // One end of line was added behind the last line, which had none.
    aligned.pop();
    aligned
}

/// Writes lines of which the widths of the first columns are known. A column is a run of lines that have a cell there.
fn columns(lines: &[Vec<&str>], width_min: usize, widths: &mut Vec<usize>, out: &mut String) {
    let column = widths.len();
    let has_cell = |line: &Vec<&str>| column + 1 < line.len();
    let mut rest = lines;
    while !rest.is_empty() {
        let without = rest.iter().take_while(|line| !has_cell(line)).count();
        write(&rest[..without], widths, out);
        rest = &rest[without..];
        let with = rest.iter().take_while(|line| has_cell(line)).count();
        if with > 0 {
            let widest = rest[..with].iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
            widths.push((widest + PADDING).max(width_min));
            columns(&rest[..with], width_min, widths, out);
            widths.pop();
            rest = &rest[with..];
        }
    }
}

fn write(lines: &[Vec<&str>], widths: &[usize], out: &mut String) {
    for line in lines {
        for (number, cell) in line.iter().enumerate() {
            out.push_str(cell);
            if let Some(width) = widths.get(number) {
                out.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
            }
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_padding_but_not_narrower_than_ten() {
        let text = "REPOSITORY\tTAG\tSIZE\na/very/long/name\tü\t4MB\nb\t\t1B\n";
        let aligned = "REPOSITORY         TAG       SIZE\na/very/long/name   ü         4MB\nb                            1B\n";
        assert_eq!(align(text), aligned);
        assert_eq!(align_wide("UID\tPID\nroot\t1\n"), "UID                 PID\nroot                1\n");
    }

    #[test]
    fn a_line_without_cells_ends_the_column() {
        // What Go's tabwriter makes of the same.
        assert_eq!(align("a\tb\nlonger line\nabcdefghij\tc\n"), "a         b\nlonger line\nabcdefghij   c\n");
        assert_eq!(align("a"), "a");
        assert_eq!(align(""), "");
    }
}
