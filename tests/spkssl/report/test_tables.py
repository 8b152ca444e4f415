from html.parser import HTMLParser

from spkssl.report.tables import Table

ROWS = (("a|b", "9.5", "none"), ("<c>", "10.25", "TRUE LABELS"))
TABLE = Table("A & B", ("name", "EER %", "labels used"), ROWS, 1, ("Why.",))


class Cells(HTMLParser):
    def __init__(self):
        super().__init__()
        self.rows, self.marked = [], []

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
            self.marked.append(dict(attrs).get("class"))

    def handle_data(self, data):
        if self.rows and data.strip():
            self.rows[-1].append(data)


def test_columns_of_numbers_end_and_columns_of_words_begin_at_one_place():
    _, head, first, second, note = TABLE.lines()
    assert first.index("9.5") + 3 == second.index("10.25") + 5 == head.index("EER %") + 5
    assert first.index("none") == second.index("TRUE") == head.index("labels used") and note == "Why."


def test_markdown_escapes_bars_and_stresses_true_labels():
    text = TABLE.markdown()
    assert "| a\\|b | 9.5 | none |" in text and "| **TRUE LABELS** |" in text
    assert "| :-- | --: | :-- |" in text and text.rstrip().endswith("Why.")


def test_html_escapes_and_marks_the_rows_of_true_labels():
    parser = Cells()
    parser.feed(TABLE.html())
    assert parser.rows[1:] == [["a|b", "9.5", "none"], ["<c>", "10.25", "TRUE LABELS", "Why."]]
    assert parser.marked == [None, None, "truth"]
