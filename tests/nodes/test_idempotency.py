"""One idempotency key is one call, whichever nodes it is sent to."""

import threading

import httpx2

from tests.nodes.nodes import Group, Node


def send(group: Group, node: Node, once: str, name: str) -> httpx2.Response:
    headers = {"Idempotency-Key": once}
    return node.call("POST", "/v1/api-keys", group.operator, {"name": name}, headers)


def send_at_once(group: Group, nodes: list[Node], once: str, name: str) -> list[httpx2.Response]:
    answers: list[httpx2.Response] = []
    go = threading.Barrier(len(nodes))

    def one(node: Node) -> None:
        go.wait()
        answers.append(send(group, node, once, name))

    threads = [threading.Thread(target=one, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_one_call_sent_to_two_nodes_at_once_makes_one_key(group: Group) -> None:
    nodes = [group.start() for _ in range(2)]
    for number in range(10):
        once, name = f"once-{number}", f"twice{number}-prod"
        answers = send_at_once(group, nodes * 2, once, name)
        made = [one.json() for one in answers if one.status_code == 201]
        refused = [one for one in answers if one.status_code != 201]
        assert {one.status_code for one in refused} <= {409}
        assert {one.json()["code"] for one in refused} <= {"idempotency.running"}
        assert sum(one["api_key"] is not None for one in made) == 1
        assert len({one["id"] for one in made}) == 1
        for node in nodes:  # sent again it is answered alike, wherever
            again = send(group, node, once, name)
            assert again.status_code == 201
            assert again.headers["Idempotency-Replayed"] == "true"
            assert again.json()["id"] == made[0]["id"]
            other = send(group, node, once, f"other{number}-prod")
            assert other.json()["code"] == "idempotency.mismatch"
