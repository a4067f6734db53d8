"""How the page looks: one style sheet, light and dark, on a screen, a phone and paper.

The hues are told apart with every kind of colour vision, and stand out from the page at 3:1 or better; texts at
4.5:1. A test computes both. Nothing is said by colour alone.
"""

INK = {
    # name: (light, dark)
    "page": ("#ffffff", "#14171c"),
    "card": ("#f6f7f9", "#1c2128"),
    "line": ("#dde1e6", "#323a45"),
    "ink": ("#1b1f24", "#e8ebef"),
    "soft": ("#59636e", "#a3adb8"),
    "link": ("#0b5cad", "#7db8f5"),
    "yes": ("#00715c", "#45cfae"),
    "no": ("#b3420a", "#ff9a5f"),
    "undecided": ("#59636e", "#a3adb8"),
}
# Blue, vermilion, teal, purple, ochre, sky, brown, grey.
HUES = (
    ("#0b62a8", "#6cb4f5"),
    ("#c2500a", "#ff9a5f"),
    ("#00806a", "#45cfae"),
    ("#a63a85", "#f08fd0"),
    ("#8f6f00", "#e3c34d"),
    ("#3d8fc4", "#b5ddff"),
    ("#7a4a2b", "#d3a887"),
    ("#6a7580", "#98a3ae"),
)


# The share of a hue in the strongest cell of a `Heat`, light and dark: on more of it the ink could not be read.
DEEPEST = (0.7, 0.53)


def style_sheet() -> str:
    """The whole style sheet of the page."""
    light, dark = (_colours(number) for number in (0, 1))
    hues = "".join(f".c{number}{{--hue:var(--hue{number})}}" for number in range(len(HUES)))
    on_paper = f"@media print{{:root{{{light};color-scheme:light}}}}"
    schemes = f":root{{{light};color-scheme:light dark}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}{on_paper}"
    return schemes + "".join(line.strip() for line in (_PAGE + _DRAWING + _MEDIA).splitlines()) + hues


def _colours(scheme: int) -> str:
    named = [*INK.items(), *((f"hue{number}", hue) for number, hue in enumerate(HUES))]
    return ";".join([*(f"--{name}:{colours[scheme]}" for name, colours in named), f"--deepest:{DEEPEST[scheme]}"])


_PAGE = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
body{margin:0 auto;max-width:54.5rem;padding:2.5rem 1.25rem 4rem;background:var(--page);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
a{color:var(--link)}
h1{font-size:2rem;line-height:1.2;letter-spacing:-.02em;margin:0}
h2{font-size:1.4rem;line-height:1.25;letter-spacing:-.01em;margin:0}
h3{font-size:1.02rem;margin:2.2rem 0 .4rem}
p{margin:.5rem 0;max-width:46rem;overflow-wrap:anywhere}
.subtitle{color:var(--soft);font-size:1.1rem}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(10.5rem,1fr));gap:.9rem 1.5rem;
margin:1.6rem 0 2.2rem;padding:0}
.facts dt,.soft{color:var(--soft);font-size:.82rem}
.facts dd{margin:0;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.headline{display:grid;grid-template-columns:repeat(auto-fit,minmax(15rem,1fr));gap:.8rem;margin:1.4rem 0 1rem}
.headline p{margin:0;padding:.7rem .9rem .8rem;border-radius:10px;background:var(--card);display:flex;
flex-direction:column;line-height:1.35;font-size:.92rem}
.headline b{font-size:1.75rem;line-height:1.25;letter-spacing:-.02em;font-variant-numeric:tabular-nums}
.tally{color:var(--soft);margin:0}
.tally b{color:var(--ink)}
.overview{list-style:none;margin:.9rem 0 0;padding:0;border:1px solid var(--line);border-radius:10px;overflow:hidden}
.overview li+li{border-top:1px solid var(--line)}
.overview a{display:grid;grid-template-columns:7.2rem 1fr;gap:.2rem 1rem;padding:.8rem 1rem;
text-decoration:none;color:inherit}
.overview a:hover,.overview a:focus-visible{background:var(--card)}
.overview b{font-weight:600}
.overview span.said{grid-column:2;color:var(--soft);font-size:.95rem}
.badge{display:inline-block;justify-self:start;align-self:start;padding:.05rem .6rem .1rem;border-radius:99px;
border:1.5px solid var(--verdict);color:var(--verdict);font-size:.84rem;font-weight:650;white-space:nowrap}
.badge.yes,.badge.no{background:var(--verdict);color:var(--page)}
.yes{--verdict:var(--yes)}.no{--verdict:var(--no)}.undecided{--verdict:var(--undecided)}
.others{margin:.9rem 0 0;color:var(--soft);font-size:.95rem}
section{margin-top:3.2rem;padding-top:1.6rem;border-top:1px solid var(--line);scroll-margin-top:1rem}
.claim{font-size:1.05rem;color:var(--soft);font-style:italic}
.answer{display:flex;gap:.8rem;align-items:baseline;font-size:1.08rem;margin:.7rem 0 1rem}
.answer p{margin:0}
header+main>section:first-child{margin-top:1.6rem}
.note{color:var(--soft);font-size:.88rem;margin:.5rem 0 0}
figure{margin:1.9rem 0 0}
figcaption,caption{font-weight:620;text-align:left;margin:0;padding:0 0 .6rem;font-size:1.02rem}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.92rem;font-variant-numeric:tabular-nums}
.block>table,.block>.wide{margin-top:1.9rem}
th,td{padding:.36rem .8rem;text-align:left;border-bottom:1px solid var(--line);unicode-bidi:isolate}
th:first-child,td:first-child{padding-left:.5rem}
thead th{font-weight:560;color:var(--soft);font-size:.84rem;vertical-align:bottom;border-bottom-width:2px}
tbody th{font-weight:inherit;overflow-wrap:anywhere;min-width:9rem;position:sticky;left:0;background:var(--page)}
tbody tr:last-child>*{border-bottom:0}
.number{text-align:right;white-space:nowrap}
.stacked th,.stacked td{padding:.36rem .5rem}
.stacked .interval-text{display:block}
.interval-text{color:var(--soft);font-size:.88em}
tr.group th{font-weight:620;padding-top:.9rem}
tr.ours>*{background:color-mix(in srgb,var(--hue0) 9%,var(--page))}
td.best{font-weight:700}
td.best .interval-text{font-weight:400}
td.better{color:var(--yes)}td.worse{color:var(--no)}
details{margin:.5rem 0 0;font-size:.88rem}
summary{color:var(--soft);cursor:pointer;width:max-content}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(18.5rem,100%),1fr));gap:1rem}
.card{background:var(--card);border-radius:10px;padding:.8rem .95rem .9rem;break-inside:avoid}
.card h4{margin:0 0 .5rem;font-size:.98rem;display:flex;justify-content:space-between;gap:1rem;align-items:baseline}
.card h4 span{color:var(--soft);font-weight:400;font-size:.82rem;white-space:nowrap}
.card ul{list-style:none;margin:0;padding:0;font-size:.9rem}
.card li{display:grid;grid-template-columns:1fr auto;gap:0 .8rem;padding:.16rem 0;align-items:baseline}
.card li>span:first-child{overflow-wrap:anywhere}
.card li svg{grid-column:1/-1;height:8px;min-width:0;margin:.1rem 0 .25rem}
.heat td{text-align:center;border:2px solid var(--page);padding:.3rem .4rem;min-width:2.4rem;
background:color-mix(in srgb,var(--hue) calc(var(--part)*var(--deepest)),var(--page))}
.heat thead th{text-align:center}
.heat tbody th{border:0;white-space:nowrap;min-width:0;color:var(--soft)}
.heat.dense td{padding:0;min-width:1.15rem;height:1.15rem;font-size:0;border-width:1px}
.heat.dense thead th{padding:.2rem 0;font-size:.72rem;line-height:1.15rem;
writing-mode:vertical-rl;vertical-align:bottom}
footer{margin-top:4rem;color:var(--soft);font-size:.85rem}
"""

_DRAWING = """
svg{display:block;width:100%;height:auto;min-width:38rem;overflow:visible}
svg text{font-size:13px;fill:var(--ink)}
svg .tick,svg .axis{fill:var(--soft)}
svg .tick,svg .value{font-size:12px;font-variant-numeric:tabular-nums}
svg .strong{font-weight:620}
svg .halo{font-weight:700;paint-order:stroke;stroke:var(--page);stroke-width:4px;stroke-linejoin:round}
svg [class^=c]{fill:var(--hue)}
.grid,.zero,.reference,.leader,.error,.whisker,svg .curve{fill:none;stroke:var(--line)}
.zero{stroke:var(--soft)}
.reference{stroke:var(--ink);stroke-dasharray:4 4;opacity:.7}
.leader{stroke-width:.8}
.error{stroke:var(--ink);stroke-width:1.5}
svg .curve{stroke:var(--hue);stroke-width:2.2;stroke-linejoin:round}
svg .curve.d1{stroke-dasharray:7 4}
.band{fill:var(--hue);opacity:.14}
.whisker{stroke:var(--hue);stroke-width:5;opacity:.3}
.bar{fill:var(--hue)}
.dots{stroke:var(--hue);stroke-width:4;stroke-linecap:round;opacity:.55}
.frame{fill:none;stroke:var(--line)}
.interval{fill:var(--hue);opacity:.38}
.point{fill:var(--hue)}
.even{--hue:var(--soft)}.better{--hue:var(--yes)}.worse{--hue:var(--no)}
.rail{fill:var(--line)}.reach{fill:var(--ink)}
.even .point{fill:var(--page);stroke:var(--hue);stroke-width:2}
"""

_MEDIA = """
@media(max-width:38rem){body{padding:1.4rem 1rem 3rem}h1{font-size:1.6rem}
.overview a{grid-template-columns:1fr}.overview span.said{grid-column:1}
.answer{flex-direction:column;gap:.35rem}}
@media print{body{max-width:none;padding:0;font-size:10.5pt}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
section{margin-top:1.6rem}h2,h3,figcaption,.claim,.answer,tr.group{break-after:avoid}figure,tr,.card{break-inside:avoid}
.wide{overflow:visible}svg{min-width:0}details{display:none}a{color:inherit}}
"""
