"""The list of cases: what is taken, and what is said of what is not."""

from pathlib import Path

import pytest

from pneumoscope.evaluation.labels import BadLabels, read_labels


def listed(tmp_path: Path, text: str, **options: tuple[str, ...]) -> list:
    file = tmp_path / "labels.csv"
    file.write_bytes(text.encode("utf-8-sig"))
    return read_labels(file, **options)


def test_all_columns(tmp_path: Path) -> None:
    text = "Path,LABEL,patient,site,sex,age,scanner,kernel\na.png,covid,p1,North,F,64Y,X,\nb,0,p2,South,M,7,Y,B70\n"
    first, second = listed(tmp_path, text)
    assert (first.name, first.path, first.positive, first.patient) == ("a.png", tmp_path / "a.png", True, "p1")
    assert dict(first.subgroups) == {"site": "North", "sex": "F", "scanner": "X", "age": "60 to 74"}
    assert dict(second.subgroups) == {"site": "South", "sex": "M", "scanner": "Y", "kernel": "B70", "age": "0 to 17"}
    assert not second.positive


def test_absolute_paths_and_rows_without_patient(tmp_path: Path) -> None:
    a, b = listed(tmp_path, f"path,label\n{tmp_path}/x/a,1\nb,0\n")
    assert a.path == tmp_path / "x" / "a"
    assert a.patient != b.patient


def test_own_words_for_positive(tmp_path: Path) -> None:
    cases = listed(tmp_path, "path,label\na,CT-1\nb,CT-0\nc,CT-2\n", positive=("CT-1", "CT-2"))
    assert [case.positive for case in cases] == [True, False, True]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path\na\n", "lacks the column label"),
        ("file,class\na,1\n", "label and path"),
        ("path,label\n", "no rows"),
        ("", "lacks the column"),
        ("path,label\na,1\nb,maybe\n", "Line 3 has the label 'maybe'"),
        ("path,label\na,1\n,0\n", "Line 3 has no path"),
        ("path,label\na,1\na,0\n", "Line 3 names a path"),
        ("path,label,label\na,1,1\n", "two columns"),
        ("path,label,age\na,1,old\n", "Line 2 has the age 'old'"),
        ("path,label,age\na,1,-3\n", "Line 2 has the age"),
        ("path,label\na,\n", "Line 2 has the label ''"),
        ("path,label\na\n", "Line 2 has the label ''"),
    ],
)
def test_bad_lists_are_refused_with_the_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadLabels, match=said):
        listed(tmp_path, text)


@pytest.mark.parametrize("content", [b"path,label\n\xff\xfe,1\n", b'path,label\n"a,1\n'])
def test_no_csv_in_utf8(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(BadLabels, match="cannot be read"):
        read_labels(tmp_path / "labels.csv")


def test_absent(tmp_path: Path) -> None:
    with pytest.raises(BadLabels, match="cannot be read"):
        read_labels(tmp_path / "labels.csv")
