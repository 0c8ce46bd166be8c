//! The style sheet: light and dark, on a phone, on a desk and on paper.

/// Everything is in the page itself: no fonts, no network.
pub(crate) const CSS: &str = r#"
:root {
  color-scheme: light dark;
  --paper: #fdfcfa; --card: #ffffff; --ink: #1d2129; --soft: #5b6472; --faint: #8a93a1; --rule: #e4e2dc; --grid: #ebe9e4;
  --heart: #c01f3f; --bare: #39424f; --runtime: #1f64c8; --good: #0b7a5c; --bad: #b8520a;
  --h0: #c01f3f; --h1: #e5735f; --h2: #8c1d5a; --h3: #d98a1f; --h4: #7d1620; --h5: #e39aa0;
  --b0: #39424f; --b1: #7a8492; --b2: #5d5346; --b3: #95866f; --b4: #1c2530; --b5: #a9b1bb;
  --r0: #1f64c8; --r1: #0b8a8f; --r2: #6f9be8; --r3: #4b3fb3; --r4: #2b8fc9; --r5: #8a74d6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171c; --card: #1b1f26; --ink: #e8e6e1; --soft: #a7afbb; --faint: #7d8693; --rule: #2e343d; --grid: #292e37;
    --heart: #ff6b81; --bare: #c6ced8; --runtime: #7fb0ff; --good: #4fd0a8; --bad: #f0a050;
    --h0: #ff5c75; --h1: #ffa08c; --h2: #e07ac0; --h3: #f2b454; --h4: #d94e5c; --h5: #ffc2c8;
    --b0: #d5dbe3; --b1: #939dab; --b2: #b9a98f; --b3: #8c8474; --b4: #f2f4f7; --b5: #6d7683;
    --r0: #6ea4ff; --r1: #45c8cc; --r2: #a5c4ff; --r3: #a99cff; --r4: #63bdf0; --r5: #c9b8ff;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main, header, footer { max-width: 960px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 48px; }
h1 { font-size: 2.1rem; line-height: 1.15; letter-spacing: -.02em; margin: 0 0 6px; }
h2 { font-size: 1.4rem; letter-spacing: -.01em; margin: 0 0 4px; }
h3 { font-size: 1rem; margin: 26px 0 6px; }
.lede { font-size: 1.08rem; color: var(--soft); max-width: 44em; }
.eyebrow { color: var(--heart); font-weight: 600; letter-spacing: .08em; text-transform: uppercase; font-size: .76rem; margin: 0 0 10px; }
section { margin: 56px 0; scroll-margin-top: 16px; border-top: 1px solid var(--rule); padding-top: 26px; }
a { color: inherit; text-decoration-color: var(--faint); text-underline-offset: 3px; }
a:hover { text-decoration-color: currentColor; }
code { font: .92em ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: nowrap; }
code.heart { color: var(--heart); } code.bare { color: var(--bare); } code.runtime { color: var(--runtime); }
.params { color: var(--soft); font-size: .9rem; margin: 0 0 14px; }
.params span { white-space: nowrap; margin-right: 1.1em; }
.params b { color: var(--ink); font-weight: 600; font-variant-numeric: tabular-nums; }
.headline { font-size: 1.1rem; margin: 14px 0 18px; padding-left: 14px; border-left: 3px solid var(--heart); }
.summary { display: grid; grid-template-columns: minmax(150px, 13rem) 1fr; gap: 0; margin: 0; }
.summary dt, .summary dd { margin: 0; padding: 9px 0; border-top: 1px solid var(--rule); }
.summary dt { font-weight: 600; padding-right: 18px; }
.points { display: grid; grid-template-columns: 11rem 1fr; gap: 10px 18px; margin: 14px 0; }
.points dt { font-weight: 600; } .points dd { margin: 0; }
.answers { display: grid; grid-template-columns: 11rem 1fr; gap: 8px 18px; margin: 18px 0; font-size: .95rem; }
.answers dt { color: var(--soft); } .answers dd { margin: 0; } .answers p { margin: 0 0 3px; }
.statements { font-size: .95rem; padding-left: 1.2em; }
figure { margin: 22px 0; background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 16px 16px 12px; break-inside: avoid; }
figcaption { color: var(--soft); font-size: .84rem; margin-top: 8px; }
.plot, .scroll { overflow-x: auto; }
.plot svg { display: block; width: 100%; min-width: 620px; height: auto; }
svg text { font: 12px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: var(--ink); }
svg text.tick, svg text.axis { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; fill: var(--soft); }
svg text.tick { font-size: 11.5px; } svg .end { text-anchor: end; } svg .middle { text-anchor: middle; }
svg .faint { fill: var(--faint); font-size: 11px; }
svg .value { font-variant-numeric: tabular-nums; }
.grid { stroke: var(--grid); stroke-width: 1; fill: none; }
.line { stroke: var(--c); stroke-width: 2; fill: none; stroke-linejoin: round; }
.heart > .line { stroke-width: 2.6; }
.lead { stroke: var(--c); stroke-width: 1; opacity: .45; fill: none; }
.range { stroke: var(--c); stroke-width: 1.4; opacity: .6; fill: none; }
.mark { fill: var(--c); stroke: var(--card); stroke-width: 1; }
.bar { fill: var(--c); } .bar.light { opacity: .42; } .stripe { stroke: var(--c); stroke-width: 1.5; fill: none; opacity: .8; }
.halo { stroke: var(--card); stroke-width: 3.4; fill: none; opacity: .5; } .whisker { stroke: var(--ink); stroke-width: 1.3; fill: none; opacity: .75; }
.heart { --c: var(--h0); } .bare { --c: var(--b0); } .runtime { --c: var(--r0); }
.heart.v1 { --c: var(--h1); } .heart.v2 { --c: var(--h2); } .heart.v3 { --c: var(--h3); } .heart.v4 { --c: var(--h4); } .heart.v5 { --c: var(--h5); }
.bare.v1 { --c: var(--b1); } .bare.v2 { --c: var(--b2); } .bare.v3 { --c: var(--b3); } .bare.v4 { --c: var(--b4); } .bare.v5 { --c: var(--b5); }
.runtime.v1 { --c: var(--r1); } .runtime.v2 { --c: var(--r2); } .runtime.v3 { --c: var(--r3); } .runtime.v4 { --c: var(--r4); } .runtime.v5 { --c: var(--r5); }
.legend { margin: 0 0 10px; font-size: .84rem; color: var(--soft); } .key { white-space: nowrap; margin-right: 1.2em; } .chip { display: inline-block; width: .8em; height: .8em; border-radius: 2px; background: var(--c); margin-right: .4em; vertical-align: -.05em; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 12px 5px 0; vertical-align: top; border-bottom: 1px solid var(--rule); }
thead th { color: var(--soft); font-weight: 500; text-align: right; vertical-align: bottom; }
thead th:first-child, tbody th { text-align: left; }
tbody th { font: .92em ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: nowrap; padding-right: 18px; }
td { text-align: right; white-space: nowrap; } td small { display: block; color: var(--faint); font-size: .8em; }
.figures { min-width: 100%; }
.figures tbody th, .ratios tbody th { border-left: 4px solid var(--c); padding-left: 8px; }
.ratios tbody th + th { border-left: 0; padding-left: 0; }
.ratios thead th:nth-child(-n+3), .ratios .word { text-align: left; } .forest { width: 152px; } thead th.forest { text-align: left; white-space: nowrap; } thead .forest span { display: inline-block; width: 20px; text-align: center; } thead .forest span:first-child { width: 60px; text-align: left; } thead .forest span:last-child { width: 60px; text-align: right; }
.forest svg { display: block; margin-top: 3px; }
.one { stroke: var(--faint); stroke-width: 1; stroke-dasharray: 2 2; } .interval { stroke: var(--s); stroke-width: 3; stroke-linecap: round; } .interval.weak { stroke-width: 1; }
.dot { fill: var(--s); } .good { --s: var(--good); } .bad { --s: var(--bad); } .alike { --s: var(--faint); }
tr.good .word:last-child { color: var(--good); } tr.bad .word:last-child { color: var(--bad); } tr.alike .word:last-child { color: var(--soft); }
.machine th { font: inherit; color: var(--soft); white-space: nowrap; } .machine td { text-align: left; white-space: normal; }
details { margin: 12px 0; } summary { cursor: pointer; color: var(--soft); font-size: .92rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(140px, 1fr)); gap: 10px; margin: 20px 0; }
.tiles div { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 12px 14px; }
.tiles dt { color: var(--soft); font-size: .82rem; } .tiles dd { margin: 2px 0 0; font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.notes { font-size: .9rem; padding-left: 1.2em; } .notes .failed { color: var(--bad); }
footer { color: var(--soft); font-size: .86rem; padding-bottom: 60px; }
@media (max-width: 640px) {
  header { padding-top: 28px; } h1 { font-size: 1.6rem; } section { margin: 40px 0; }
  .summary, .points, .answers { grid-template-columns: 1fr; gap: 2px; }
  .summary dd { border-top: 0; padding-top: 0; } .summary dt { padding-bottom: 0; }
  .points dd, .answers dd { margin-bottom: 10px; } figure { padding: 10px; margin-left: -8px; margin-right: -8px; }
}
@media print {
  :root { --paper: #fff; --card: #fff; } body { font-size: 10.5pt; } main, header, footer { max-width: none; }
  section { margin: 22pt 0; } .plot, .scroll { overflow: visible; } .plot svg { min-width: 0; }
  details::details-content { content-visibility: visible; block-size: auto; } h2, h3, .headline { break-after: avoid; } tr { break-inside: avoid; }
}
"#;
