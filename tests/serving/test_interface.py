"""The described interface holds for requests made from its own description."""

import warnings

import pytest

schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis")


def test_every_endpoint_keeps_to_its_description(exported) -> None:
    from hypothesis import HealthCheck, Phase, given, settings

    from zoo import load_learner
    from zoo.serving import make_app

    names = ("rows", "films", "reviews", "pictures")
    app = make_app({name: load_learner(exported[name], device="cpu") for name in names})
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    seen = set()
    for found in schema.get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy())
        @settings(
            max_examples=15, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck), phases=[Phase.generate],
        )  # fmt: skip
        def holds(case) -> None:
            response = case.call()
            assert response.status_code < 500, (case.method, case.path, response.text[:500])

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            holds()
        seen.add(operation.path)
    assert len(seen) > 15
