import pytest

from spkssl.training.rounds import RoundFacts, RoundStopConfig, decide

START = RoundFacts(silhouette=0.4, margin=0.1)


def told(*rounds, **settings):
    found = decide(RoundStopConfig(**settings), [START, *(RoundFacts(**facts) for facts in rounds)])
    return found.stop, found.why


def test_fixed_number_of_rounds_never_stops():
    assert told({"ari": 1.0, "nmi": 1.0, "accepted": 1.0}) == (False, "the number of rounds is fixed")


@pytest.mark.parametrize(("ari", "stops"), [(0.899, False), (0.9, True), (0.95, True)])
def test_stability_stops_from_its_threshold_on(ari, stops):
    assert told({"ari": ari, "nmi": 0.99}, rule="stability")[0] is stops


def test_stability_may_go_by_nmi():
    facts = {"ari": 0.5, "nmi": 0.92}
    assert told(facts, rule="stability") == (False, "ARI with the labels before 0.5000 < 0.9")
    assert told(facts, rule="stability", measure="nmi") == (True, "NMI with the labels before 0.9200 >= 0.9")


def test_acceptance_stops_where_nearly_all_pass_or_no_more_than_before():
    how = {"rule": "acceptance", "accepted": 0.9, "growth": 0.05}
    assert told({"accepted": 0.9}, **how)[0]
    assert not told({"accepted": 0.2}, **how)[0]  # the first round has none before it
    assert not told({"accepted": 0.5}, {"accepted": 0.6}, **how)[0]
    assert told({"accepted": 0.5}, {"accepted": 0.54}, **how) == (True, "rise of the share accepted 0.0400 < 0.05")
    assert told({"accepted": 0.5}, {"accepted": 0.3}, **how)[0]


def test_change_stops_where_the_clusters_hardly_get_more_compact():
    how = {"rule": "change", "tolerance": 0.1}
    assert told({"silhouette": 0.45}, **how) == (False, "relative rise of the silhouette 0.1250 >= 0.1")
    assert told({"silhouette": 0.42}, **how)[0] and told({"silhouette": 0.3}, **how)[0]
    assert told({"margin": 0.105}, quality="margin", **how)[0]
    assert not told({"silhouette": -0.1}, {"silhouette": -0.05}, **how)[0]  # of a negative one too, a rise is a rise
    assert told({"silhouette": -0.1}, {"silhouette": -0.2}, **how)[0]


def test_earliest_round_is_made_in_any_case():
    stop, why = told({"ari": 1.0}, rule="stability", earliest=2)
    assert not stop and why.endswith("but 2 rounds are made in any case")
    assert told({"ari": 1.0}, {"ari": 1.0}, rule="stability", earliest=2)[0]


@pytest.mark.parametrize(
    ("rule", "lacking"), [("stability", "ari"), ("acceptance", "share accepted"), ("change", "silhouette")]
)
def test_value_that_is_not_there_is_named(rule, lacking):
    with pytest.raises(ValueError, match=lacking):
        told({}, rule=rule)


@pytest.mark.parametrize("wrong", [{"earliest": 0}, {"agreement": 0.0}, {"accepted": 1.5}])
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError):
        RoundStopConfig(**wrong)
