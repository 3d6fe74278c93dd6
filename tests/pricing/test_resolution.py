"""Which names mean which model, and whose rates then price it."""

from decimal import Decimal

import pytest
from genai_prices.data import providers
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given
from hypothesis import strategies as st

from apps.pricing.core.catalogue import Catalogue
from apps.pricing.core.meters import CACHE_READ, INPUT, OUTPUT
from apps.pricing.core.providers import normalise_provider
from apps.pricing.core.rating import MeteredUsage, RateBook
from apps.tenants.selectors import TenantInfo
from tests.conftest import MakeTenant
from tests.pricing.conftest import NOW, SetRate, book_of

EMPTY_BOOK = RateBook(
    catalogue=Catalogue(revision=0, providers=[], models=[], read_rates=lambda *_: []),
    own=[],
    own_revision=0,
)


@pytest.mark.parametrize(
    ("reported", "canonical"),
    [
        ("openai", "openai"),
        ("OpenAI", "openai"),
        ("openai.chat", "openai"),
        ("openai.responses", "openai"),
        ("text-completion-openai", "openai"),
        ("anthropic.messages", "anthropic"),
        ("azure.ai.openai", "azure"),
        ("azure.ai.inference", "azure"),
        ("azure-openai.chat", "azure"),
        ("azure_ai", "azure"),
        ("aws.bedrock", "aws"),
        ("bedrock_converse", "aws"),
        ("amazon-bedrock", "aws"),
        ("gcp.vertex_ai", "google"),
        ("gcp.gemini", "google"),
        ("gcp.gen_ai", "google"),
        ("vertex_ai", "google"),
        ("google.vertex.chat", "google"),
        ("google.generative-ai", "google"),
        ("gemini", "google"),
        ("x_ai", "x-ai"),
        ("xai.chat", "x-ai"),
        ("mistral_ai", "mistral"),
        ("mistral.chat", "mistral"),
        ("moonshot_ai", "moonshotai"),
        ("together_ai", "together"),
        ("fireworks_ai", "fireworks"),
        ("cohere_chat", "cohere"),
        ("voyage", "voyageai"),
        ("huggingface-together", "huggingface_together"),
    ],
)
def test_providers_by_what_clients_call_them(
    catalogue_book: RateBook, reported: str, canonical: str
) -> None:
    assert catalogue_book.canonical_provider(reported) == canonical


@pytest.mark.parametrize("name", ["local", "ollama", "hosted_vllm", "openai_like", "custom_openai"])
def test_names_that_say_nothing_about_prices_stay_out(catalogue_book: RateBook, name: str) -> None:
    backend = catalogue_book.resolve(name, "gpt-4o")
    assert (backend.key, backend.card, backend.source) == (f"{name}/gpt-4o", None, None)
    assert backend.kind == ("cloud" if "openai" in name else "local")


@pytest.mark.parametrize(
    ("reported", "key"),
    [
        (("openai", "gpt-4o-mini-2024-07-18"), "openai/gpt-4o-mini"),
        (("openai", "GPT-4o-Mini"), "openai/gpt-4o-mini"),
        (("openai", "openai/gpt-4o-mini"), "openai/gpt-4o-mini"),
        (("openai", "gpt-5.2-20251211"), "openai/gpt-5.2"),
        (("azure.ai.openai", "gpt-4o"), "azure/gpt-4o"),
        (("openai", "our-alias", "gpt-4o-mini"), "openai/gpt-4o-mini"),
        (("openai", "our-alias", "openai/gpt-4o-mini"), "openai/gpt-4o-mini"),
        (("openai", "gpt-4o", "gpt-4o-mini"), "openai/gpt-4o"),
        (("litellm", "anthropic/claude-sonnet-4-5"), "anthropic/claude-sonnet-4-5"),
        (("litellm_proxy", "bedrock/anthropic.claude-3-5-sonnet-20241022-v2:0"),
         "aws/regional.anthropic.claude-3-5-sonnet-20241022-v2:0"),
    ],
)  # fmt: skip
def test_models_by_what_clients_call_them(
    catalogue_book: RateBook, reported: tuple[str, ...], key: str
) -> None:
    backend = catalogue_book.resolve(*reported)
    assert (backend.key, backend.source) == (key, "catalogue")


@pytest.mark.parametrize(
    "reported",
    [
        ("openai", "our-alias"),
        ("openai", "our-alias", "our-alias"),
        ("openai", "gpt-4o-mini-production"),
        ("openai", ""),
        ("", "gpt-4o"),
        ("some-gateway", "gpt-4o", "gpt-4o-mini"),
        ("litellm", "team-a/gpt-4o"),
        ("litellm", "gpt-4o"),
    ],
)
def test_an_alias_is_never_priced_by_guess(
    catalogue_book: RateBook, reported: tuple[str, ...]
) -> None:
    assert catalogue_book.resolve(*reported).card is None


def test_every_model_resolves_as_in_genai_prices(catalogue_book: RateBook) -> None:
    """By its id, at its own provider, as genai-prices itself finds it."""
    catalogue = catalogue_book.catalogue
    for provider in providers:
        for model in provider.models:
            for name in (model.id, model.id.upper(), f"{model.id}-20251211"):
                try:
                    _, expected = get_snapshot().find_provider_model(name, None, provider.id, None)
                except LookupError:
                    assert catalogue.find(provider.id, name) is None
                    continue
                found = catalogue.find(provider.id, name)
                assert found is not None
                assert (found.provider, found.model) == (provider.id, expected.id)


@given(st.text(max_size=300), st.text(max_size=300), st.none() | st.text(max_size=300))
def test_resolving_never_raises(provider: str, model: str, requested: str | None) -> None:
    backend = EMPTY_BOOK.resolve(provider, model, requested)
    assert backend.card is None


def test_an_own_rate_stands_over_the_catalogues(tenant: TenantInfo, set_rate: SetRate) -> None:
    """For the meters it names, and for every name of the model; other tenants keep list prices."""
    set_rate(INPUT, "0.10", provider="azure.ai.openai", model="gpt-4o-mini")
    for name in ("gpt-4o-mini", "gpt-4o-mini-2024-07-18"):
        backend = book_of(tenant).resolve("azure", name)
        assert (backend.key, backend.source) == ("azure/gpt-4o-mini", "tenant")
        assert backend.card is not None
        usage = MeteredUsage(400, 600, 0, 0, 200)
        # 400 x 0.10, and the catalogue's 600 x 0.075 and 200 x 0.60
        assert backend.card.cost(usage, NOW) == Decimal("0.000205")
    sources = [line.rate_id for line in backend.card.explain(usage, NOW)]
    assert [str(source).split(":")[0] for source in sources] == ["tenant", "catalogue", "catalogue"]


def test_an_own_rate_gives_way_where_it_is_not_in_force(
    tenant: TenantInfo, set_rate: SetRate
) -> None:
    set_rate(INPUT, "0.10", provider="openai", model="gpt-4o-mini", effective_from=NOW)
    card = book_of(tenant).resolve("openai", "gpt-4o-mini").card
    assert card is not None
    assert card.cost(MeteredUsage(1_000_000), NOW) == Decimal("0.1")
    assert card.cost(MeteredUsage(1_000_000), NOW.replace(month=10)) == Decimal("0.15")


def test_an_own_variant_leaves_the_standard_price(tenant: TenantInfo, set_rate: SetRate) -> None:
    flex = {"service_tier": "flex"}
    set_rate(INPUT, "0.05", provider="openai", model="gpt-4o-mini", when=flex)
    card = book_of(tenant).resolve("openai", "gpt-4o-mini").card
    assert card is not None
    assert card.cost(MeteredUsage(1_000_000), NOW, flex) == Decimal("0.05")
    assert card.cost(MeteredUsage(1_000_000), NOW) == Decimal("0.15")


def test_an_own_name_for_a_model_covers_its_dated_names(
    tenant: TenantInfo, set_rate: SetRate
) -> None:
    for meter, price in ((INPUT, "15"), (OUTPUT, "75")):
        set_rate(meter, price, provider="anthropic", model="claude-3-opus")
    for name in ("claude-3-opus", "claude-3-opus-20240229", "claude-3-opus-latest"):
        backend = book_of(tenant).resolve("anthropic", name)
        assert (backend.key, backend.source) == ("anthropic/claude-3-opus", "tenant")


def test_an_alias_with_an_own_rate_is_priced(tenant: TenantInfo, set_rate: SetRate) -> None:
    for meter in (INPUT, OUTPUT, CACHE_READ):
        set_rate(meter, "1", provider="openai", model="our-alias")
    backend = book_of(tenant).resolve("openai", "Our-Alias", "gpt-4o")
    assert (backend.key, backend.source) == ("openai/our-alias", "tenant")


def test_own_rates_are_found_without_a_provider_first(
    make_tenant: MakeTenant, tenant: TenantInfo, set_rate: SetRate
) -> None:
    """Then "provider/model", then who claims the name, then who lists it."""
    set_rate(INPUT, "9", provider="vllm", model="gpt-4o")
    found = {
        name: backend.key if (backend := book_of(tenant).resolve_anywhere(name)) else None
        for name in ("gpt-4o", "openai/gpt-4o", "claude-sonnet-4-5", "llama-3.3-70b-versatile", "x")
    }
    assert found == {
        "gpt-4o": "vllm/gpt-4o",
        "openai/gpt-4o": "openai/gpt-4o",
        "claude-sonnet-4-5": "anthropic/claude-sonnet-4-5",
        "llama-3.3-70b-versatile": "groq/llama-3.3-70b-versatile",
        "x": None,
    }
    elsewhere = book_of(make_tenant()).resolve_anywhere("gpt-4o")
    assert elsewhere is not None
    assert elsewhere.key == "openai/gpt-4o"


def test_a_provider_in_lower_case_is_no_longer_than_its_name() -> None:
    """A backend's key has room for names as they come; "İ" alone would grow."""
    assert normalise_provider("İSTANBUL " + "İ" * 191) == "istanbul " + "i" * 191
