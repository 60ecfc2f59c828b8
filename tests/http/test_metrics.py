"""What Prometheus reads."""

from dataclasses import replace

from keyturn.http.metrics import Metrics, VerifierFigures

FIGURES = VerifierFigures(lease_seconds=4.5, applied_position=17, kept=3, filled=2)


def test_a_node_without_a_verifier_tells_of_none() -> None:
    assert b"keyturn_verifier" not in Metrics().exposition()


def test_the_figures_of_a_verifier_are_those_of_the_moment() -> None:
    metrics, figures = Metrics(), [FIGURES]
    metrics.watch_verifier(lambda: figures[0])
    told = metrics.exposition().decode()
    assert "keyturn_verifier_lease_seconds 4.5\n" in told
    assert "keyturn_verifier_applied_position 17.0\n" in told
    assert 'keyturn_verifier_lookups_total{outcome="kept"} 3.0\n' in told
    assert 'keyturn_verifier_lookups_total{outcome="filled"} 2.0\n' in told
    figures[0] = replace(FIGURES, kept=4, lease_seconds=0.0)
    told = metrics.exposition().decode()
    assert 'keyturn_verifier_lookups_total{outcome="kept"} 4.0\n' in told
    assert "keyturn_verifier_lease_seconds 0.0\n" in told
