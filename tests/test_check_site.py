"""What looks over the built site sees what is wrong with it."""

import pytest
from check_site import faults


def site(folder, body, styles=""):
    (folder / "index.html").write_text(f"<html><head>{styles}</head><body id='top'>{body}</body></html>", "utf-8")
    (folder / "other.html").write_text("<h1 id='here'>Other</h1>", "utf-8")
    return sorted(faults(folder))


def test_a_site_that_stands_alone_has_no_faults(tmp_path):
    body = "<a href='other.html#here'>a</a><a href='#top'>b</a><a href='https://example.org/x#y'>c</a>"
    assert site(tmp_path, body, "<style>p { background: url(data:image/png;base64,AA==) }</style>") == []


@pytest.mark.parametrize(
    "loaded",
    [
        "<script src='https://example.org/a.js'></script>",
        "<script src='//example.org/a.js'></script>",
        "<link rel='stylesheet' href='http://example.org/a.css'>",
        "<img src='https://example.org/a.png'>",
        "<style>@import 'https://example.org/a.css';</style>",
        "<style>@font-face { src: url(https://example.org/a.woff2) }</style>",
    ],
)
def test_what_is_loaded_from_elsewhere_is_a_fault(tmp_path, loaded):
    (found,) = site(tmp_path, "", loaded)
    assert "index.html: loads" in found
    assert "example.org" in found


def test_a_style_sheet_that_loads_from_elsewhere_is_a_fault(tmp_path):
    (tmp_path / "site.css").write_text("p { background: url('https://example.org/a.png') }", "utf-8")
    assert site(tmp_path, "") == ["site.css: loads https://example.org/a.png"]


@pytest.mark.parametrize("link", ["nowhere.html", "other.html#nowhere", "#nowhere", "nowhere/"])
def test_a_link_that_leads_nowhere_is_a_fault(tmp_path, link):
    (found,) = site(tmp_path, f"<a href='{link}'>a</a>")
    assert link in found


def test_a_folder_without_pages_is_a_fault(tmp_path):
    assert len(list(faults(tmp_path))) == 1
