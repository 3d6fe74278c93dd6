from apps.dashboards.breakdown import Sums
from apps.dashboards.colours import (
    backend_series,
    leading,
    model_key,
    model_series,
    split_model_key,
)
from tests.dashboards.rows import sums


def test_a_model_on_both_kinds_is_two_series_of_one_colour() -> None:
    keys = [model_key("llama", "local"), model_key("llama", "cloud"), model_key("gpt", "cloud")]
    series = model_series(keys, {"llama": 3, "gpt": 0})
    assert [series[key].name for key in keys] == ["llama, local", "llama, cloud", "gpt"]
    assert {series[key].place for key in keys[:2]} == {"3"}
    assert [series[key].is_local for key in keys] == [True, False, False]
    assert series[keys[0]].css_class == "series-3 hatched"


def test_models_beyond_the_palette_are_told_apart_by_dots() -> None:
    series = model_series([model_key("m", "cloud")], {"m": 12})
    (only,) = series.values()
    assert (only.place, only.dotted) == ("2", True)


def test_a_key_with_a_bar_in_its_model_is_read_back() -> None:
    assert split_model_key(model_key("odd|name", "local")) == ("odd|name", "local")


def test_backends_of_one_model_share_its_colour_in_shades() -> None:
    series = backend_series(
        [("openai/gpt-5", "gpt-5", "cloud"), ("azure/gpt-5", "gpt-5", "cloud")], {"gpt-5": 1}
    )
    assert {one.place for one in series.values()} == {"1"}
    assert {one.shade for one in series.values()} == {0, 1}
    # Two of one name need their providers.
    assert {one.name for one in series.values()} == {"openai/gpt-5", "azure/gpt-5"}


def test_a_backend_drops_its_provider_where_its_name_is_clear() -> None:
    series = backend_series([("openai/gpt-5", "gpt-5", "cloud")], {"gpt-5": 0})
    assert (series["openai/gpt-5"].name, series["openai/gpt-5"].prefix) == ("gpt-5", "openai/")
    plain = backend_series([("box-1", "llama", "local")], {"llama": 0})
    assert (plain["box-1"].name, plain["box-1"].prefix) == ("box-1", "")


def test_one_left_over_is_drawn_itself() -> None:
    spent: dict[str, Sums] = {name: sums(str(9 - n)) for n, name in enumerate("abcd")}
    assert leading(spent, 3) == (["a", "b", "c", "d"], [])
    assert leading(spent, 2) == (["a", "b"], ["c", "d"])
