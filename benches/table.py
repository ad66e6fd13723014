"""Medians and ratios of a raw.tsv of scripts/bench, as Markdown.

Lines of the file: round, contender, work, metric, value; or `# name<TAB>text` about the run.
"""

import statistics
import sys

MAIN = {
    "down1": ("Gbit/s", "TCP, 1 stream down, Gbit/s"),
    "up1": ("Gbit/s", "TCP, 1 stream up, Gbit/s"),
    "down4": ("Gbit/s", "TCP, 4 streams down, Gbit/s"),
    "up4": ("Gbit/s", "TCP, 4 streams up, Gbit/s"),
    "keepalive": ("req/s", "requests/s, keep-alive"),
    "close": ("req/s", "connections/s"),
    "udp64": ("kpps", "UDP 64 B, kpps (loss)"),
    "udp1400": ("kpps", "UDP 1400 B, kpps (loss)"),
    "latency": ("p50us", "latency, µs, p50 / p99"),
    "mixed": ("p99us", "under 4 streams: p50 / p99, µs"),
    "few": ("kpps", "256 clients, kpps"),
    "million": ("kpps", "1,048,576 clients, kpps"),
}

# What the project wants to reach: (what is said, contender, work, measured against, at least). Without the last it is what
# the reflector of that method reaches, which does nothing but move frames: the limit of what stands above it. WORK/METRIC is
# another number of that work; of latencies the ratio is the other's by the contender's. CONTENDER:WORK is measured against
# another work.
TARGETS = [
    ("NAT bulk, of the reflector", "tapvs-nat", "down1", "reflector", 0.95),
    ("NAT bulk up, of the reflector", "tapvs-nat", "up1", "reflector", 0.95),
    ("NAT bulk, of HAProxy", "tapvs-nat", "down1", "haproxy", 1.15),
    ("NAT bulk, of nginx stream", "tapvs-nat", "down1", "nginx", 1.15),
    ("NAT requests, of the reflector", "tapvs-nat", "keepalive", "reflector", 0.93),
    ("NAT requests, of HAProxy", "tapvs-nat", "keepalive", "haproxy", 1.5),
    ("reflector requests, of HAProxy", "reflector", "keepalive", "haproxy", None),
    ("NAT connections, of the reflector", "tapvs-nat", "close", "reflector", 0.93),
    ("NAT connections, of HAProxy", "tapvs-nat", "close", "haproxy", 1.2),
    ("reflector connections, of HAProxy", "reflector", "close", "haproxy", None),
    ("NAT bulk, of IPVS in user-mode-linux", "tapvs-nat", "down1", "ipvs-uml", 8),
    ("reflector bulk, of IPVS in user-mode-linux", "reflector", "down1", "ipvs-uml", None),
    ("NAT requests, of IPVS in user-mode-linux", "tapvs-nat", "keepalive", "ipvs-uml", 2),
    ("NAT connections, of IPVS in user-mode-linux", "tapvs-nat", "close", "ipvs-uml", 2),
    ("NAT bulk, of nftables in the kernel", "tapvs-nat", "down1", "nftables", 0.85),
    ("NAT requests, of nftables in the kernel", "tapvs-nat", "keepalive", "nftables", 0.85),
    ("NAT connections, of nftables in the kernel", "tapvs-nat", "close", "nftables", 0.85),
    ("DR download, of direct", "tapvs-dr", "down1", "direct", 0.9),
    ("DR reflector download, of direct", "reflector-dr", "down1", "direct", None),
    ("DR download, of the DR reflector", "tapvs-dr", "down1", "reflector-dr", 0.95),
    ("tunnel download, of direct", "tapvs-tunnel", "down1", "direct", 0.9),
    ("tunnel reflector download, of direct", "reflector-tunnel", "down1", "direct", None),
    ("tunnel download, of the tunnel reflector", "tapvs-tunnel", "down1", "reflector-tunnel", 0.95),
    ("tunnel download, unpacked in the kernel, of direct", "tapvs-tunnel-kernel", "down1", "direct", 0.9),
    ("tunnel reflector download, unpacked in the kernel, of direct", "reflector-tunnel-kernel", "down1", "direct", None),
    ("tunnel download, unpacked in the kernel, of its reflector", "tapvs-tunnel-kernel", "down1", "reflector-tunnel-kernel", 0.95),
    ("IPv6 NAT bulk, of IPv4", "tapvs-nat6", "down1", "tapvs-nat", 0.95),
    ("IPv6 NAT requests, of IPv4", "tapvs-nat6", "keepalive", "tapvs-nat", 0.95),
    ("IPv6 NAT connections, of IPv4", "tapvs-nat6", "close", "tapvs-nat", 0.95),
    ("FULL-NAT bulk, of NAT", "tapvs-fullnat", "down1", "tapvs-nat", 0.95),
    ("FULL-NAT requests, of NAT", "tapvs-fullnat", "keepalive", "tapvs-nat", 0.95),
    ("FULL-NAT connections, of NAT", "tapvs-fullnat", "close", "tapvs-nat", 0.95),
    ("FULL-NAT with TOA, bulk, of NAT", "tapvs-fullnat-proxy", "down1", "tapvs-nat", 0.95),
    ("FULL-NAT with PROXY headers, requests, of NAT", "tapvs-fullnat-proxy", "keepalive", "tapvs-nat", 0.95),
    ("FULL-NAT with PROXY headers, connections, of NAT", "tapvs-fullnat-proxy", "close", "tapvs-nat", 0.95),
    ("fast NAT bulk, of nftables in the kernel", "tapvs-fast", "down1", "nftables", 1.0),
    ("fast NAT bulk up, of nftables in the kernel", "tapvs-fast", "up1", "nftables", 1.0),
    ("fast NAT requests, of nftables in the kernel", "tapvs-fast", "keepalive", "nftables", 1.0),
    ("fast NAT connections, of nftables in the kernel", "tapvs-fast", "close", "nftables", 1.0),
    ("fast NAT connections, of NAT", "tapvs-fast", "close", "tapvs-nat", 1.0),
    ("fast NAT bulk, of NAT", "tapvs-fast", "down1", "tapvs-nat", 1.3),
    ("fast NAT bulk up, of NAT", "tapvs-fast", "up1", "tapvs-nat", 1.3),
    ("null program bulk, of NAT", "null-program", "down1", "tapvs-nat", None),
    ("fast NAT bulk, of the null program", "tapvs-fast", "down1", "null-program", None),
    ("fast NAT requests, of the null program", "tapvs-fast", "keepalive", "null-program", None),
    ("fast NAT connections, of the null program", "tapvs-fast", "close", "null-program", None),
    ("fast NAT requests, of HAProxy", "tapvs-fast", "keepalive", "haproxy", 1.5),
    ("fast NAT UDP 64 B, of nftables in the kernel", "tapvs-fast", "udp64", "nftables", 1.0),
    ("fast NAT UDP 1,400 B, of nftables in the kernel", "tapvs-fast", "udp1400", "nftables", 1.0),
    ("null program UDP 1,400 B, of nftables in the kernel", "null-program", "udp1400", "nftables", None),
    ("fast DR download, of direct", "tapvs-fast-dr", "down1", "direct", 0.95),
    ("fast DR requests, of direct", "tapvs-fast-dr", "keepalive", "direct", 0.95),
    ("fast tunnel upload, unpacked in the kernel, of direct", "tapvs-fast-tunnel", "up1", "direct", 0.9),
    ("fast NAT latency p50, of nftables in the kernel", "tapvs-fast", "latency/p50us", "nftables", 0.91),
    ("fast NAT latency p99, of nftables in the kernel", "tapvs-fast", "latency/p99us", "nftables", 0.91),
    ("the same under four streams, p50", "tapvs-fast", "mixed/p50us", "nftables", 0.91),
    ("the same under four streams, p99", "tapvs-fast", "mixed/p99us", "nftables", 0.91),
    ("fast NAT of a million clients, of 256", "tapvs-fast", "million", "tapvs-fast:few", 0.9),
    ("null program bulk, of nftables in the kernel", "null-program", "down1", "nftables", None),
]


class Runs:
    """All numbers of a file, by contender, work, metric and round."""

    def __init__(self, path):
        self.about, self.values, self.lacks = {}, {}, {}
        self.contenders, self.works, self.rounds = [], [], set()
        for line in open(path, encoding="utf-8"):
            self.add(line.rstrip("\n"))

    def add(self, line):
        if line.startswith("# "):
            name, text = line[2:].split("\t", 1)
            self.about[name] = text.strip()
            return
        turn, contender, work, metric, value = line.split("\t")
        self.rounds.add(turn)
        if contender not in self.contenders:
            self.contenders.append(contender)
        if work == "-":
            self.lacks[contender] = value if metric == "lacks" else "it did not start"
            return
        if work not in self.works:
            self.works.append(work)
        self.values.setdefault((contender, work, metric), {})[turn] = float(value)

    def median(self, contender, work, metric):
        values = self.values.get((contender, work, metric))
        return statistics.median(values.values()) if values else None

    def spread(self, contender, work):
        values = self.values.get((contender, work, MAIN[work][0]), {}).values()
        return (min(values), max(values))

    def ratio(self, contender, other, work):
        """The median over the rounds of what one reached by what the other did in the same round."""
        work, _, metric = work.partition("/")
        metric = metric or MAIN[work][0]
        other, _, against = other.partition(":")
        ours = self.values.get((contender, work, metric), {})
        theirs = self.values.get((other, against or work, metric), {})
        if metric.endswith("us"):
            ours, theirs = theirs, ours
        both = [ours[turn] / theirs[turn] for turn in ours if theirs.get(turn)]
        return statistics.median(both) if both else None


def digits(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cell(runs, contender, work):
    median = lambda metric: runs.median(contender, work, metric)
    value = median(MAIN[work][0])
    if value is None:
        return "failed" if median("failed") else "n/a"
    if work in ("latency", "mixed"):
        return f"{digits(median('p50us'))} / {digits(median('p99us'))}"
    if work.startswith("udp"):
        return f"{digits(value)} ({median('loss%'):.0f} %)"
    low, high = runs.spread(contender, work)
    return f"{digits(value)} [{digits(low)}-{digits(high)}]" if len(runs.rounds) > 1 else digits(value)


def row(cells):
    print("| " + " | ".join(cells) + " |")


def head(cells):
    row(cells)
    print("|" + "---|" * len(cells))


def medians(runs):
    works = [work for work in MAIN if work in runs.works]
    head([""] + [MAIN[work][1] for work in works])
    for contender in runs.contenders:
        if contender in runs.lacks and not any((contender, work, "wall") in runs.values for work in works):
            row([contender] + [f"not here: {runs.lacks[contender]}"] + [""] * (len(works) - 1))
            continue
        row([contender] + [cell(runs, contender, work) for work in works])


def targets(runs):
    rows = [(what, runs.ratio(ours, theirs, work), least) for what, ours, work, theirs, least in TARGETS]
    rows = [found for found in rows if found[1] is not None]
    if not rows:
        return
    print("\nRatios within a round, median over the rounds:\n")
    head(["", "ratio", "wanted", ""])
    for what, ratio, least in rows:
        if least is None:
            row([what, f"{ratio:.2f}", "", "the limit"])
            continue
        row([what, f"{ratio:.2f}", f">= {least}", "reached" if round(ratio, 2) >= least else "**missed**"])


def processor(runs):
    rows = []
    for contender in runs.contenders:
        cpu = lambda work: runs.median(contender, work, "cpu")
        wall = lambda work: runs.median(contender, work, "wall")
        # The rate holds for the time of the test; the time around it costs next to nothing.
        bulk, packets, requests = (runs.median(contender, *key) for key in (("down1", "Gbit/s"), ("udp64", "kpps"), ("keepalive", "req/s")))
        seconds = lambda work, lead: max(wall(work) - lead, 0.1)
        cells = [
            digits(cpu("down1") / (bulk / 8 * seconds("down1", 0.3))) if bulk and cpu("down1") else "-",
            digits(cpu("udp64") / (packets * 1e3 * seconds("udp64", 0.3) / 1e5)) if packets and cpu("udp64") else "-",
            digits(cpu("keepalive") / (requests * seconds("keepalive", 0.1) / 1e5)) if requests and cpu("keepalive") else "-",
        ]
        if any(text != "-" for text in cells):
            rows.append([contender] + cells)
    if rows:
        print("\nProcessor seconds of the director's program (the kernel's work on its behalf included):\n")
        head(["", "per GB, 1 stream", "per 100k packets of 64 B received", "per 100k requests"])
        for cells in rows:
            row(cells)


def main():
    runs = Runs(sys.argv[1])
    about = runs.about
    print("# tapvs, its peers and the limit of a TAP\n")
    print(f"{about.get('date')}; {about.get('machine')}; tapvs {about.get('tapvs')}; {len(runs.rounds)} rounds, medians [lowest-highest]; `scripts/bench`.")
    print(f"Pinning: {about.get('pinning')}.\n")
    medians(runs)
    targets(runs)
    processor(runs)


main()
