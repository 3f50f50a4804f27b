"""How much longer decode attention takes when contexts differ: list scheduling on persistent SMs against a closed form.

    python scripts/attention_spread.py [--cv 0.4 1.0] [--sms 132] [--share 1.6] [--fixed 1.5] [--draws 1.0]

FlashAttention-3's decode gives every (request, KV head) one tile of ceil(context / 128) blocks; a tile longer than
1.1 × the average work per SM becomes up to 32 equal pieces of whole blocks. Pieces are in order of requests, a
request's heads side by side, and a free SM takes the next. Each piece costs its blocks and a fixed time. An SM draws at
most `share` × its equal share of the memory's bandwidth, so SMs that are done leave some of theirs to the others.
The ratio is the mean time of Gamma-distributed contexts over the time of equal ones, both averaged over means one
block apart, as the rounding of equal contexts to blocks would otherwise be a part of it.

`share` and `fixed` are chosen so that the simulation comes close to a published table, which has no more about it than
its mean and CV; they are not measured. The source rounds 1.1 × the average up to whole blocks (--round-limit), which
moves small batches further from that table. Batches are powers of two, which nearly fill 132 SMs with equal tiles;
between them equal contexts leave SMs idle themselves, and the ratio is lower, even below 1 (17 requests, 8 KV heads).
"""

import argparse
import heapq

import numpy as np

BLOCK, MARGIN, MAX_SPLITS = 128, 1.1, 32
HEADS = (1, 2, 4, 8, 16)
BATCHES = tuple(2**n for n in range(12))
PUBLISHED = {8: (1.34, 1.09, 1.01), 4: (1.38, 1.28, 1.12), 2: (1.28, 1.36, 1.24), 1: (1.29, 1.34, 1.31)}
PUBLISHED_BATCHES = (16, 64, 256)
CAP, TAIL, SPLIT = 5.8, 0.6, 0.5


def factor(batch: float, heads: float, cv: float, sms: float) -> float:
    """Closed form of the ratio: CAP bounds it, TAIL is its decay with tiles per SM, SPLIT that splits even out few."""
    x = batch * heads / sms
    spread = cv * (1 - 1 / batch)
    few = (SPLIT / x) * (SPLIT / x)
    return float(1 + spread / np.sqrt((TAIL * x) ** 2 * np.sqrt(heads) + spread**2 * (CAP + few * few)))


def pieces(contexts: np.ndarray, heads: int, args: argparse.Namespace) -> list[float]:
    """Cost of every piece in blocks, in the order in which SMs take them."""
    blocks = np.maximum(1, np.ceil(contexts / BLOCK))
    limit = MARGIN * blocks.sum() * heads / args.sms
    if args.round_limit:
        limit = np.ceil(limit)
    splits = np.clip(np.ceil(blocks / limit - 1e-9), 1, MAX_SPLITS).astype(int)
    length = np.ceil(blocks / splits)
    costs: list[float] = []
    for total, each, count in zip(blocks, length, splits, strict=True):
        sizes = np.clip(total - each * np.arange(count), 0, each) + args.fixed
        costs += sizes.tolist() * heads
    return costs


def scheduled_time(costs: list[float], args: argparse.Namespace) -> float:
    """Time until every SM is done; busy SMs share the memory's bandwidth equally, each up to `share` × its part."""
    free = costs[: args.sms]
    heapq.heapify(free)
    for cost in costs[args.sms :]:
        heapq.heapreplace(free, free[0] + cost)
    done = np.sort(free)
    busy = np.arange(len(done), 0, -1)
    return float((np.diff(done, prepend=0) * np.maximum(1 / args.share, busy / args.sms)).sum())


def simulated(batch: int, heads: int, cv: float, args: argparse.Namespace) -> tuple[float, float]:
    """Mean time of spread contexts over that of equal ones, and its standard error."""
    rng = np.random.default_rng([batch, heads, round(1000 * cv)])
    means = args.mean + BLOCK * (np.arange(8) + 0.5) / 8 - BLOCK / 2
    equal = np.mean([scheduled_time(pieces(np.full(batch, m), heads, args), args) for m in means])
    draws = max(1, round(args.draws * min(32, max(2, 12000 // (batch * heads)))))
    contexts = [rng.gamma(cv**-2, m * cv**2, batch) for m in means for _ in range(draws)]
    times = [scheduled_time(pieces(c, heads, args), args) for c in contexts]
    return float(np.mean(times) / equal), float(np.std(times) / equal / np.sqrt(len(times)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cv", type=float, nargs="+", default=[0.2, 0.4, 0.6, 0.8, 1.0])
    parser.add_argument("--sms", type=int, default=132)
    parser.add_argument("--mean", type=float, default=900.0)
    parser.add_argument("--share", type=float, default=1.6, help="an SM's most bandwidth over its equal share")
    parser.add_argument("--fixed", type=float, default=1.5, help="a piece's fixed cost in blocks")
    parser.add_argument("--round-limit", action="store_true", help="round the longest unsplit tile up to blocks")
    parser.add_argument("--draws", type=float, default=1.0, help="draws of the contexts, relative to the default")
    args = parser.parse_args()

    print("CV 1: simulated / formula / published")
    for heads, values in PUBLISHED.items():
        cells = [
            f"{simulated(b, heads, 1.0, args)[0]:.2f} / {factor(b, heads, 1.0, args.sms):.2f} / {value:.2f}"
            for b, value in zip(PUBLISHED_BATCHES, values, strict=True)
        ]
        print(f"{heads:>2} KV heads  " + "    ".join(cells))
    differences, worst_noise = [], 0.0
    for cv in args.cv:
        print(f"\nCV {cv:g}: simulated / formula\nKV heads" + "".join(f"{f'B {b}':>11}" for b in BATCHES))
        for heads in HEADS:
            cells = []
            for batch in BATCHES:
                ratio, noise = simulated(batch, heads, cv, args)
                formula = factor(batch, heads, cv, args.sms)
                differences.append(formula - ratio)
                worst_noise = max(worst_noise, noise)
                cells.append(f"{ratio:.2f}/{formula:.2f}")
            print(f"{heads:>8}" + "".join(f"{c:>11}" for c in cells))
    d = np.array(differences)
    print(
        f"\nformula − simulated: mean {d.mean():+.3f}, mean size {abs(d).mean():.3f}, rms {np.sqrt((d * d).mean()):.3f}"
    )
    print(f"from {d.min():+.3f} to {d.max():+.3f}, {(d > 0.05).sum()} of {d.size} above +0.05")
    print(f"standard error of a simulated ratio: at most {worst_noise:.3f}")


if __name__ == "__main__":
    main()
