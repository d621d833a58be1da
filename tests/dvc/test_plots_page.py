"""The page that DVC fills with plots holds the scripts that DVC would load."""

import re

from dvc_render.vega import VegaRenderer

from tests.conftest import ROOT


def test_the_scripts_in_the_page_are_of_the_versions_that_dvc_loads() -> None:
    page = (ROOT / ".dvc" / "plots_page.html").read_text()
    wanted = dict(re.findall(r"/npm/([\w-]+)@([\d.]+)", VegaRenderer.SCRIPTS))
    assert set(wanted) == {"vega", "vega-lite", "vega-embed"}
    for name, version in wanted.items():
        assert f"{name} {version}" in page[:1000]
        assert f'version:"{version}"' in page or f'="{version}"' in page
    assert "html_template = plots_page.html" in (ROOT / ".dvc" / "config").read_text()
