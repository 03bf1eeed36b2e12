"""One grammar of symbols: what it takes, and what it refuses with which reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.symbol import SYMBOL_FORM, SYMBOL_LENGTH, SYMBOL_LETTERS, market_of, symbol_problem


@pytest.mark.parametrize(
    "symbol",
    [
        *(
            "BTC-USD",
            "btc-usdt",
            "stETH-USD",
            "1INCH-USDT",
            "1000SATS-USDT",
            "A.B-USD",
            "USDT_OLD-USD",
        ),
        *("$PAC-USD", "$$$-USD", "币安人生-USDT", "हिन्दी-USD", "БТЦ-РУБ", "BTC-USDT:USDT"),
        *("KRAKEN:BTC-USD", "OKX:BTC-USD:BTC", "42-USD", "A-B"),
    ],
)
def test_names_of_coins_in_any_script_are_symbols(symbol: str) -> None:
    assert symbol_problem(symbol) is None


@pytest.mark.parametrize(
    "symbol",
    [
        "",
        "-",
        "BTC",
        "BTC-",
        "-USD",
        "A-B-C",
        "BTC:USD",
        "A::B-C",
        "A:B:C-D",
        "A-B:C:D",
        ":A-B",
        "A-B:",
    ],
)
def test_what_has_another_form_is_refused(symbol: str) -> None:
    assert symbol_problem(symbol) == SYMBOL_FORM


@pytest.mark.parametrize(
    "symbol",
    [
        *("=1+1-USD", "+A-USD", "@all-USD", "A@-USD", "<!channel>-USD", "A/B-USD", "A\\B-USD"),
        *(
            "A B-USD",
            "A\tB-USD",
            "A-USD\n",
            "A\x00-USD",
            "A\u200b-USD",
            "A\u202e-USD",
            "\ud83d-USD",
        ),
        *("A'-USD", 'A"-USD', "A`-USD", "A*-USD", "A|-USD", "A,-USD", "A;-USD", "A%-USD", "A?-USD"),
        *(
            "A#-USD",
            "A&-USD",
            "A[]-USD",
            "A{}-USD",
            "A()-USD",
            "..-USD",
            ".A-USD",
            "_A-USD",
            "\uff1dA-USD",
        ),
    ],
)
def test_what_could_do_harm_elsewhere_is_refused(symbol: str) -> None:
    assert symbol_problem(symbol) == SYMBOL_LETTERS


@pytest.mark.parametrize(
    "symbol", ["A" * 33 + "-B", "A-" + "B" * 33, "A" * 100_000, "币" * 32 + "-" + "币" * 32]
)
def test_what_is_too_long_for_a_file_name_is_refused(symbol: str) -> None:
    assert symbol_problem(symbol) == SYMBOL_LENGTH


@given(st.text(max_size=140))
def test_a_symbol_has_one_market_and_any_text_an_answer(text: str) -> None:
    if symbol_problem(text) is None:
        assert text.count("-") == 1
        assert symbol_problem(market_of(text)) is None
        assert symbol_problem(f"V:{market_of(text)}") is None or len(text.encode()) > 120
        assert text.isprintable()
