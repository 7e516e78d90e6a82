package report

// pageTemplate is the page. html/template escapes what it shows, but for SVG, which escapes its
// texts itself.
const pageTemplate = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta name="color-scheme" content="light dark"/>
<title>{{.Title}}</title>
<style>{{.Style}}</style>
</head>
<body>
<main>
<h1>{{.Title}}</h1>
{{range .Summary}}<p class="lead">{{plain .}}</p>
{{end -}}
{{with .Charts}}<div class="charts">{{range .}}{{template "chart" .}}{{end}}</div>
{{end -}}
{{with .Runs}}{{template "grid" .}}
{{end -}}
{{range .Full}}{{if .Open}}<section>{{template "run" .}}</section>{{else}}<details class="run"><summary>{{.Name}}</summary>{{template "run" .}}</details>{{end}}
{{end -}}
{{with .Note}}<p class="note">{{.}}</p>
{{end -}}
{{with .Scenario}}<details><summary>Scenario, with its defaults</summary><pre>{{.}}</pre></details>
{{end -}}
</main>
</body>
</html>
{{define "run"}}
{{with .About}}<p class="about">{{.}}</p>{{end}}
<div class="lead">{{range .Summary}}<p>{{plain .}}</p>{{end}}</div>
<p class="note">{{plain .Setup}}</p>
{{with .Expect}}<div class="scroll"><table><thead><tr><th>Expectations</th><th>got</th><th>verdict</th></tr></thead><tbody>
{{range .}}<tr><td>{{.Expect}}</td><td>{{.Got}}</td><td class="{{if .Holds}}holds{{else}}fails{{end}}">{{.Verdict}}</td></tr>
{{end}}</tbody></table></div>{{end}}
<div class="charts">{{range .Charts}}{{template "chart" .}}{{end}}</div>
{{range .Grids}}{{template "grid" .}}
{{end}}<div class="lists">
{{range .Pairs}}<div><h2>{{.Title}}</h2><dl>{{range .Pairs}}<div><dt>{{index . 0}}</dt><dd>{{index . 1}}</dd></div>{{end}}</dl></div>
{{end}}</div>
<p class="foot">seed {{.Seed}} · shoal {{.Shoal}} · config {{.Hash}}</p>
{{end}}
{{define "chart"}}<figure><figcaption>{{plain .Title}}</figcaption>
{{with .Legend}}<ul class="legend">{{range .}}<li>{{swatch .}}{{plain .Name}}</li>{{end}}</ul>{{end}}
{{.SVG}}
{{with .Note}}<p class="note">{{plain .}}</p>{{end}}</figure>
{{end}}
{{define "grid"}}<div class="scroll"><table><thead><tr><th>{{plain .Title}}</th>{{range .Head}}<th>{{plain .}}</th>{{end}}</tr></thead><tbody>
{{range .Rows}}<tr>{{range .}}<td>{{plain .}}</td>{{end}}</tr>
{{end}}</tbody></table></div>{{with .Note}}<p class="note">{{plain .}}</p>{{end}}{{end}}`

// style is the style sheet. The colours of tiers and lines are told apart with any colour
// vision (after Okabe and Ito); heat goes from pale to strong in one hue. Text in charts is
// larger on narrow screens, where charts are drawn smaller.
const style = `
:root{--bg:#fff;--fg:#1c2126;--dim:#59636e;--rule:#d9dee3;--grid:#e6e9ec;--card:#f7f8fa;
--local:#009e73;--peer:#56b4e9;--far:#0072b2;--ufs:#d55e00;--stall:#b1568a;--never:#e3e6ea;--good:#00704f;--bad:#b3261e;
--s0:#0072b2;--s1:#d55e00;--s2:#009e73;--s3:#b1568a;--s4:#b58900;--s5:#3aa0dd}
@media screen and (prefers-color-scheme:dark){:root{--bg:#14171a;--fg:#e6e9ec;--dim:#9aa5b1;--rule:#343b42;--grid:#2a3036;--card:#1b1f24;
--local:#1fae86;--peer:#6cc0ee;--far:#2b86c8;--ufs:#e8762c;--stall:#cc79a7;--never:#30373e;--good:#4cc79f;--bad:#ff8a80;
--s0:#4a9fdc;--s1:#e8762c;--s2:#1fae86;--s3:#cc79a7;--s4:#e0b030;--s5:#8fd0f5}}
*{box-sizing:border-box}
body{margin:0;overflow-wrap:anywhere;background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,"DejaVu Sans",sans-serif}
main{max-width:1240px;margin:0 auto;padding:24px 20px 48px}
h1{font-size:1.6rem;line-height:1.25;margin:0 0 8px}
h2{font-size:1.05rem;margin:28px 0 6px}
p{margin:0 0 6px;max-width:75ch}
.about{color:var(--dim);margin-bottom:12px}
.lead{font-size:1.1rem}
.note,.foot{color:var(--dim);font-size:.875rem;margin-top:6px}
.foot{margin-top:24px;padding-top:10px;border-top:1px solid var(--rule);max-width:none}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:16px;margin:20px 0}
figure{display:flex;flex-direction:column;margin:0;padding:14px 16px 10px;background:var(--card);border:1px solid var(--rule);border-radius:8px;break-inside:avoid;min-width:0}
figcaption{font-weight:600;line-height:1.35;margin-bottom:6px;text-wrap:balance}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:2px 16px;margin:0 0 6px;padding:0;font-size:.875rem}
.legend li{display:flex;align-items:center;gap:6px}
svg{display:block;width:100%;height:auto}
svg.key{flex:none;width:auto;height:12px}svg.key rect{stroke:var(--rule)}
svg text{fill:var(--fg);font-size:12.5px;font-variant-numeric:tabular-nums}
svg .tick,svg .axis{fill:var(--dim)}
.grid{stroke:var(--grid);stroke-width:1;stroke-opacity:.6}.base{stroke:var(--dim);stroke-width:1}.mark{stroke:var(--fg);stroke-width:2.5}
.local{fill:var(--local)}.peer{fill:var(--peer)}.far{fill:var(--far)}.ufs{fill:var(--ufs)}.stall{fill:var(--stall)}.never{fill:var(--never)}
.pale{fill-opacity:.3}.edge{fill:none;stroke-width:1.5}.edge.ufs{stroke:var(--ufs)}.edge.stall{stroke:var(--stall)}.edge.peer{stroke:var(--far)}
.hover{fill:var(--fg);fill-opacity:0}.hover:hover{fill-opacity:.14}
.series{fill:none;stroke-width:2.5}.dot{stroke:var(--card);stroke-width:1}
.series.s0{stroke:var(--s0)}.series.s1{stroke:var(--s1);stroke-dasharray:8 4}.series.s2{stroke:var(--s2);stroke-dasharray:3 3}
.series.s3{stroke:var(--s3);stroke-dasharray:12 3 3 3}.series.s4{stroke:var(--s4);stroke-dasharray:6 2}.series.s5{stroke:var(--s5);stroke-dasharray:2 4}
.dot.s0{fill:var(--s0)}.dot.s1{fill:var(--s1)}.dot.s2{fill:var(--s2)}.dot.s3{fill:var(--s3)}.dot.s4{fill:var(--s4)}.dot.s5{fill:var(--s5)}
.h0{fill:#eaf2fa}.h1{fill:#d3e4f3}.h2{fill:#b5d2ea}.h3{fill:#91bcdf}.h4{fill:#69a3d1}.h5{fill:#3577ad}.h6{fill:#1f6099}.h7{fill:#134f87}.h8{fill:#083566}
.cell+.on{fill:#10202f}svg .on.h5,svg .on.h6,svg .on.h7,svg .on.h8{fill:#fff}
@media screen and (prefers-color-scheme:dark){.h0{fill:#1d2b39}.h1{fill:#203a52}.h2{fill:#234a6c}.h3{fill:#265c88}.h4{fill:#2d6a9c}.h5{fill:#3a78ad}.h6{fill:#69a2d0}.h7{fill:#96bfe1}.h8{fill:#c8def1}
.cell+.on,svg .on.h5{fill:#fff}svg .on.h6,svg .on.h7,svg .on.h8{fill:#10202f}}
.cell.best{stroke:var(--fg);stroke-width:2.5}.on.best{font-weight:700}
.scroll{overflow-x:auto;margin-top:20px}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums;min-width:min(100%,640px)}
th,td{padding:5px 12px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--rule)}
th{color:var(--dim);font-weight:600}
th:first-child,td:first-child{text-align:left;padding-left:0;white-space:pre-wrap}
thead th:first-child{color:var(--fg);font-size:1.05rem}
.holds{color:var(--good);font-weight:600}.fails{color:var(--bad);font-weight:700}
.lists{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,280px),1fr));gap:0 40px}
dl{margin:0;font-size:.9rem;font-variant-numeric:tabular-nums}
dl div{display:flex;justify-content:space-between;gap:16px;padding:4px 0;border-bottom:1px solid var(--rule)}
dt{color:var(--dim)}dd{margin:0;text-align:right}
details{margin-top:16px;border:1px solid var(--rule);border-radius:8px;padding:10px 16px}details+details{margin-top:8px}
summary{cursor:pointer;font-weight:600}
pre{overflow-x:auto;font-size:.85rem;line-height:1.45;font-family:ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace}
@media (max-width:640px){main{padding:16px 12px 32px}figure{padding:12px 10px 8px}svg text{font-size:17px}}
@media print{body{font-size:11pt}svg text{font-size:18px}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}main{max-width:none;padding:0}
.charts{grid-template-columns:1fr 1fr}details{break-inside:auto}details:not(.run)::details-content{content-visibility:visible;display:block;height:auto}.scroll,pre{overflow:visible}pre{white-space:pre-wrap}}
`
