"""stub"""
from pathlib import Path
def write_report(records: list, page: Path) -> None:
    page.write_text(str(len(records)))
