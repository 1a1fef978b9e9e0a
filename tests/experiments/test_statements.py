"""The statements are those of docs/protocol.md, and each follows the numbers that it names."""

import re

import numpy as np
import pandas as pd
import pytest

from dcgmm.experiments import claims, statements
from dcgmm.experiments.folders import root
from dcgmm.experiments.protocol import FAILS, HOLDS, UNDECIDED
from dcgmm.experiments.statements import NO_OUTCOME, NOT_TESTABLE, Runs, outcomes

PROTOCOL = (root() / "docs" / "protocol.md").read_text("utf-8")
CLAIMS = PROTOCOL[PROTOCOL.index("## 4.") : PROTOCOL.index("## 5.")]
ENDS = ("s1", "s2", "s5", "s10", "all")
DAMAGES = ("noise", "white", "black")
COLUMNS = [
    *("dunn", "davies_bouldin", "components_in_use", "log_likelihood_0", "log_likelihood_1"),
    *("auc_0", "auc_1", "auc_other"),
    *("distinct", "diversity", "sharpness", "exact_log_likelihood", "sharpness_sharpened", "diversity_sharpened"),
    *(f"{name}_{end}" for name in ("js", "coverage", "diversity_of_1000", "corrupted") for end in ENDS),
    *("overlap", "overlap_moved", "same_class", "same_class_moved", "js_before", "js_after", "sparser", "dominated"),
    *(f"located_{damage}" for damage in DAMAGES),
    *(f"error{where}_{d}{end}" for where in ("", "_inside") for d in DAMAGES for end in ("", "_mean", "_damaged")),
    "error_inside_training",
]


def runs(changed=None, n=10, dataset="mnist"):
    """Return repetitions in which every number is about 100, but for some columns of some architectures."""

    rng = np.random.default_rng(0)
    same = pd.DataFrame(100 + rng.normal(0, 1e-3, (n, len(COLUMNS))), columns=COLUMNS)
    same["lowest_layer"] = [f"sha256:{i}" for i in range(n)]
    gains = 1 + rng.random(n) / 10

    def repetitions(architecture, dataset, classes="0-4", **changes):
        table = same.copy()
        for key, value in (changed or {}).items():
            who, column = key.rsplit(": ", 1)
            if who in (architecture, f"{architecture} {changes}", f"{architecture} {dataset}"):
                table[column] = value if isinstance(value, str) else table[column] + value * gains
        return table

    return Runs(dataset, repetitions)


def outcome(statement, changed=None, **options):
    table = outcomes(runs(changed, **options)).set_index("statement")
    return table.loc[[statement], "outcome"].iloc[0]


def test_every_statement_of_the_protocol_is_here_and_no_other():
    named = re.findall(r"^- ((?:C\d+\.\d+,? ?)+)", CLAIMS, re.MULTILINE)
    printed = {number for names in named for number in re.findall(r"C\d+\.\d+", names)}
    found = set(outcomes(runs()).statement)
    assert {name.rstrip("abc") for name in found if "." in name} == printed
    assert {name for name in found if "." not in name} == {"C6", "C14"}
    assert {f"C17.{i}{letter}" for i in (1, 2, 3) for letter in "abc"} <= found


@pytest.mark.parametrize(
    ("statement", "changed", "expected"),
    [
        ("C1.2", {"2L-b: js_s1": -1, "2L-e: coverage_s1": 1}, HOLDS),
        ("C1.2", {"2L-b: js_s1": -1}, FAILS),
        ("C1.5", {"2L-b: exact_log_likelihood": 9}, HOLDS),
        ("C1.7", {"F(28,28,1,1) G(400): exact_log_likelihood": 9, "2L-b: exact_log_likelihood": 9}, FAILS),
        ("C2.2", {f"{name}: auc_1": 1 for name in statements.CONVOLUTIONAL}, HOLDS),
        ("C2.2", {f"{name}: auc_1": 1 for name in statements.CONVOLUTIONAL[1:]}, FAILS),
        ("C3.1", {"2L-d: auc_1": -1}, HOLDS),
        ("C4.1", {"2L-d: dunn": 1, "2L-d: davies_bouldin": -1}, HOLDS),
        ("C4.2", {}, HOLDS),
        ("C4.2", {"3L-b: dunn": -1}, FAILS),
        ("C5.2", {"2L-a: diversity": 20, "2L-c: diversity": 40, "2L-e: diversity": 60}, HOLDS),
        ("C5.2", {"2L-a: diversity": 20, "2L-c: diversity": 10, "2L-e: diversity": 60}, FAILS),
        ("C7.1", {"2L-d: distinct": -20}, HOLDS),
        ("C8.2", {"2L-c: corrupted_s10": 1}, HOLDS),
        ("C8.3", {"2L-c mnist: js_s2": -1, "2L-c fashion_mnist: js_s1": -1}, HOLDS),
        ("C8.3", {"2L-c mnist: js_s2": -1, "2L-c fashion_mnist: js_s2": -1}, FAILS),
        ("C9.4", {}, HOLDS),
        ("C9.5", {"2L-c: js_after": -1}, HOLDS),
        ("C9.6", {"2L-c fashion_mnist: sharpness_sharpened": 1}, HOLDS),
        ("C10.1", {}, HOLDS),
        ("C10.2", {"2L-a: dominated": -100}, FAILS),
        ("C11.1", {"1L: log_likelihood_0": -9}, HOLDS),  # all trainings of 1L alike
        ("C11.4", {"1L {'gmm': {'start_precision': 1.0}}: log_likelihood_0": -9}, FAILS),
        ("C11.5", {}, FAILS),
        ("C12.1", {}, HOLDS),
        ("C12.1", {"2L-d: lowest_layer": "sha256:other"}, UNDECIDED),
        ("C12.2", {"2L-c {'layerwise': True}: log_likelihood_1": -20}, FAILS),
        ("C13.3", {"1L {'learning_rate': 0.2}: log_likelihood_0": 9}, HOLDS),
        ("C16.6", {"2L-e: located_black": -100}, FAILS),
        ("C17.2b", {"2L-c: error_inside_white_mean": -9}, HOLDS),
        ("C17.3c", {"2L-c: error_black": 9}, FAILS),
    ],
)
def test_a_statement_follows_the_numbers_that_it_names(statement, changed, expected):
    assert outcome(statement, changed) == expected


def test_every_statement_has_its_words_on_the_page():
    words = statements.words()
    assert {name.rstrip("abc") for name in outcomes(runs()).statement if "." in name} == words.keys()
    assert all(len(text.split()) > 2 and "*" not in text and "  " not in text for text in words.values())


def test_every_statement_has_a_sentence_of_its_own():
    sentences = [statements.sentence(name) for name in statements.names()]
    assert len(set(sentences)) == len(sentences)
    assert statements.sentence("C1.6") == (
        "The same against flat mixtures of 100 components, which have 5 times the parameters of 2L-b."
    )
    assert statements.sentence("C16.4") == "The same in 2L-e (noise)."


def test_there_is_no_outcome_before_ten_repetitions():
    table = outcomes(runs(n=9))
    assert set(table.outcome) == {NO_OUTCOME, NOT_TESTABLE}
    few = outcomes(runs(n=2))
    assert set(few.statement) == set(table.statement)
    assert set(few.outcome) == {NO_OUTCOME, NOT_TESTABLE}


def test_the_best_of_a_group_is_that_of_the_data_set():
    compared = outcomes(runs(dataset="fashion_mnist")).set_index("statement").compared
    assert compared["C1.3"] == "AUC: 2L-b and 1L"
    assert list(compared["C1.1"]) == ["Dunn: 2L-c and 1L", "Davies–Bouldin: 2L-d and 1L"]


def test_an_outcome_that_half_or_twice_the_margin_would_change_says_so():
    table = outcomes(runs({"2L-b: exact_log_likelihood": 3})).set_index("statement")
    assert table.outcome["C1.4"] == HOLDS
    assert table["depends on the margin"]["C1.4"]
    assert not outcomes(runs({"2L-b: exact_log_likelihood": 9})).set_index("statement")["depends on the margin"]["C1.4"]


def test_the_margins_are_those_of_the_protocol():
    margins = PROTOCOL[PROTOCOL.index("**The margins**") : PROTOCOL.index("**The best of a group**")]
    found = dict(re.findall(r"^\| ([^|]+?) \| ([\d.]+)", margins, re.MULTILINE))
    for name, printed in {
        "AUC": "AUC",
        "Dunn": "Dunn index",
        "Davies–Bouldin": "Davies–Bouldin index",
        "exact log-likelihood": "exact log-likelihood",
        "sharpness": "sharpness (training images: 1)",
        "distinct": "distinct samples of 100",
        "JS": "Jensen–Shannon divergence (JS), nats",
        "coverage": "coverage",
        "in use": "components in use",
    }.items():
        assert statements.MEASURES[name].margin == float(found[printed])
    assert 100 * statements.MEASURES["diversity"].margin == float(found["diversity, mean squared error"])
    assert statements.OF_INPUT == float(found["log-likelihood of equal inputs"])
    assert statements.CORRUPTED == float(found["corrupted samples"])
    assert statements.SHARE == float(found["share of samples, of positions, of images; overlap of silhouettes"])


def test_the_outcomes_of_a_claim_are_those_of_the_whole_table():
    changed = {"2L-d: auc_1": -1, "2L-c: js_after": -1, "2L-e: located_black": -100}
    table = outcomes(runs(changed)).drop_duplicates("statement").set_index("statement").outcome.to_dict()
    by_claim = [statements.of_claim(claim, runs(changed), 10) for claim in claims.CLAIMS]
    assert {name: outcome for found in by_claim for name, outcome in found.items()} == table
    assert list(table) == statements.names()
    before = [statements.of_claim(claim, None, 9) for claim in claims.CLAIMS]
    assert [[*found] for found in before] == [[*found] for found in by_claim]
    assert {outcome for found in before for outcome in found.values()} == {NO_OUTCOME, NOT_TESTABLE}
