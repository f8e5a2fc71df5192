"""Show the text of two nodes side by side on one line while it is written."""

from collections.abc import Callable

from reactivex import Observable

from rxruns import RunsClient, block_on, ops, start_run
from rxruns.devserver import DevServer
from rxruns.state import NodeText
from rxruns.workflow import llm, parallel

WIDTH = 38
spec = parallel(
    [
        llm("pro", user="What are the arguments for it?", model="gpt-4o"),
        llm("contra", user="What are the arguments against it?", model="claude-haiku-4-5"),
    ]
)


def tail_of(node_id: str) -> Callable[[Observable[NodeText]], Observable[str]]:
    """Emit the end of the node's text after each piece, without keeping the rest."""

    def longer(tail: str, text: NodeText) -> str:
        return (tail + text.piece.replace("\n", " "))[-WIDTH:]

    def tail(texts: Observable[NodeText]) -> Observable[str]:
        own = texts.pipe(ops.filter(lambda text: text.node_id == node_id))
        return own.pipe(ops.scan(longer, ""), ops.start_with(""))

    return tail


def show(tails: tuple[str, str]) -> None:
    left, right = tails
    print(f"\r{left:{WIDTH}} | {right:{WIDTH}}", end="", flush=True)


def main(client: RunsClient) -> None:
    texts = start_run(spec, client=client).pipe(ops.text(), ops.share())  # one connection for both
    pro, contra = texts.pipe(tail_of("pro")), texts.pipe(tail_of("contra"))
    block_on(pro.pipe(ops.combine_latest(contra), ops.tap(show)))
    print()


if __name__ == "__main__":
    with DevServer(delay=0.01) as server, server.client() as client:
        main(client)
