"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const config = { displaylogo: false, responsive: true, plotlyServerURL: "", modeBarButtonsToRemove: ["lasso2d", "select2d"] };
  const HUES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#8b5fbf", "#7f7f7f", "#a3333d", "#3f8f3f"];
  const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star-triangle-up", "pentagon", "hexagon"];
  const DASHES = ["solid", "dash", "dot", "dashdot"];

  // Names come from users: the chart library reads a few tags in a text, so none may come through.
  const safe = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const four = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 4 });
  const fine = new Intl.NumberFormat("en-US", { maximumFractionDigits: 4 });
  const figure = (value, unit) => (value === null || value === undefined ? "not known" : four.format(value) + (unit ? " " + unit : ""));
  const percent = (share) => fine.format(share * 100) + " %";
  const faded = (hex, alpha) => hex + Math.round(alpha * 255).toString(16).padStart(2, "0");
  const hue = (i) => HUES[i % HUES.length];

  // The element is as high as its chart, or what follows would lie over it.
  const show = (id, traces, layout) => {
    byId(id).style.height = layout.height + "px";
    return Plotly.react(id, traces, layout, config);
  };

  const options = (select, names, kept) => {
    select.replaceChildren(...names.map((name, i) => new Option(name, String(i))));
    const place = names.indexOf(kept);
    select.value = String(Math.max(place, 0));
  };
  const run = () => data.runs[Number(byId("policy").value)];
  const service = () => run().services[Number(byId("service").value)];

  // Polygons around a band; one for each stretch between gaps, which a null separates.
  const band = (times, low, high) => {
    const x = [], y = [];
    let begin = 0;
    for (let i = 0; i <= times.length; i++) {
      if (i < times.length && low[i] !== null && high[i] !== null) continue;
      if (i > begin) {
        if (x.length) { x.push(null); y.push(null); }
        for (let k = begin; k < i; k++) { x.push(times[k]); y.push(high[k]); }
        for (let k = i - 1; k >= begin; k--) { x.push(times[k]); y.push(low[k]); }
      }
      begin = i + 1;
    }
    return { x, y };
  };

  const base = () => ({
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: color("ink"), family: "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif", size: 13 },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: color("faint"), activecolor: color("accent") },
    hoverlabel: { align: "left", bgcolor: color("raised"), bordercolor: color("rule"), font: { color: color("ink") } },
    margin: { l: 75, r: 15, t: 40, b: 50 },
  });
  const axis = (title, more) => ({
    title: { text: title, standoff: 8 }, gridcolor: color("rule"), linecolor: color("rule"), zerolinecolor: color("rule"),
    automargin: true, ...more,
  });

  // ---- the course of one run

  const timeline = () => {
    const one = service(), pool = run().pool, start = run().start * 1000;
    const when = (column) => column.t.map((t) => start + t * 1000);
    const rows = ["load", "replicas", ...(pool ? ["nodes"] : []), "lag"];
    const weights = { load: 240, replicas: 240, nodes: 180, lag: 170 };
    const between = 74, top = 44, bottom = 56;
    const inner = rows.reduce((sum, row) => sum + weights[row], 0) + between * (rows.length - 1);
    const layout = { ...base(), height: inner + top + bottom, hovermode: "x unified", hoverdistance: 40, uirevision: "time", shapes: [] };
    layout.margin = { l: 75, r: 15, t: top, b: bottom };
    const seconds = one.seconds, range = [start, start + seconds * 1000];
    const traces = [];
    const titles = { load: "requests/s", replicas: "replicas", nodes: "nodes", lag: "time lag, s" };
    let above = 0;
    rows.forEach((row, i) => {
      const n = i === 0 ? "" : String(i + 1);
      const high = 1 - above / inner, low = Math.max(0, 1 - (above + weights[row]) / inner);
      above += weights[row] + between;
      const last = i === rows.length - 1;
      layout["xaxis" + n] = axis(last ? "time (UTC)" : "", { type: "date", range: [...range], anchor: "y" + n, ...(i ? { matches: "x" } : {}) });
      layout["yaxis" + n] = axis(titles[row], { domain: [low, high], anchor: "x" + n, rangemode: "tozero", fixedrange: true });
      layout["legend" + n] = { orientation: "h", x: 0, xanchor: "left", y: high + 6 / inner, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" };
    });
    const add = (row, trace) => {
      const i = rows.indexOf(row), n = i === 0 ? "" : String(i + 1);
      traces.push({ type: "scatter", mode: "lines", xaxis: "x" + n, yaxis: "y" + n, legend: "legend" + n, ...trace });
    };
    const line = (row, column, name, hex, unit, width = 1.4, more = {}) => {
      const x = when(column);
      if (column.low) {
        const around = band(x, column.low, column.high);
        add(row, { ...around, name, fill: "toself", fillcolor: faded(hex, 0.25), line: { width: 0.5, color: faded(hex, 0.5) }, hoverinfo: "skip", showlegend: false, legendgroup: row + name });
      }
      const text = column.mean.map((mean, i) => figure(mean, unit) + (column.low ? ` (${figure(column.low[i])} to ${figure(column.high[i])})` : ""));
      add(row, { x, y: column.mean, name, line: { color: hex, width }, text, hovertemplate: "%{text}", legendgroup: row + name, ...more });
    };

    const load = data.loads[one.load];
    if (one.forecast) {
      const f = one.forecast, x = when(f), hex = color("forecast");
      add("load", { ...band(x, f.p05, f.p95), name: "forecast at the lead time, 5 to 95 %", fill: "toself", fillcolor: faded(hex, 0.28), line: { width: 0 }, hoverinfo: "skip" });
      add("load", { x, y: f.p50, name: "forecast, 50 %", line: { color: hex, width: 1.3 }, text: f.p50.map((p, i) => `${figure(p)} (5 to 95 %: ${figure(f.p05[i])} to ${figure(f.p95[i])})`), hovertemplate: "%{text} requests/s" });
      add("load", { x, y: f.p99, name: "forecast, 99 %", visible: "legendonly", line: { color: hex, width: 1, dash: "dot" }, hovertemplate: "%{y:.4~g} requests/s" });
    }
    add("load", { x: when(one.rate), y: one.rate.mean, name: "arrival rate seen", visible: "legendonly", line: { color: color("rate"), width: 1, dash: "dash" }, hovertemplate: "%{y:.4~g} requests/s" });
    line("load", load, "arrivals", color("arrivals"), "requests/s", 1.4, { legendrank: 1 });
    const most = one.late.high || one.late.mean;
    const late = most.map((value, i) => (value || most[i - 1] || most[i + 1] ? value : null)); // no line along zero
    add("load", { x: when(one.late), y: late, name: "late", line: { color: color("late"), width: 1.2 }, fill: "tozeroy", fillcolor: faded(color("late"), 0.3), hovertemplate: "%{y:.4~g} requests/s" });
    for (const [begin, end] of load.gaps) {
      layout.shapes.push({ type: "rect", xref: "x", yref: "y domain", x0: start + begin * 1000, x1: start + end * 1000, y0: 0, y1: 1, layer: "below", fillcolor: faded(color("gap"), 0.25), line: { width: 0.5, color: faded(color("gap"), 0.5) } });
    }
    if (load.gaps.length) {
      add("load", { x: [null], y: [null], mode: "markers", name: "no data", marker: { symbol: "square", size: 11, color: faded(color("gap"), 0.5) }, hoverinfo: "skip" });
    }

    const step = (row, column, name, hex, more) => add(row, { x: when(column), y: column.v, name, line: { color: hex, width: 1.5, shape: "hv" }, hoverinfo: "skip", ...more });
    step("replicas", one.pending, "pending", color("pending"), { fill: "tozeroy", fillcolor: faded(color("pending"), 0.25), line: { color: color("pending"), width: 1, shape: "hv" } });
    step("replicas", one.ready, "ready", color("ready"));
    step("replicas", one.asked, "asked", color("asked"));
    const d = one.decisions;
    const told = d.t.map((t, i) => {
      const lines = [
        `<b>${figure(d.desired[i])} asked</b>, ${figure(d.ready[i])} ready, ${figure(d.pending[i])} pending`,
        `<b>${safe(d.reasons[d.reason[i]]).split(" ").join(", ")}</b>`,
        `arrival rate ${figure(d.rate[i], "requests/s")}`,
        d.ahead[i] === null ? "no forecast" : `forecast in ${figure(d.ahead[i], "s")}: ${figure(d.p50[i])} (95 %: ${figure(d.p95[i])}) requests/s`,
        `backlog ${figure(d.backlog[i])}, time lag ${figure(d.lag[i], "s")}`,
      ];
      const more = [["service rate", d.service_rate, "requests/s"], ["lead time", d.lead_time, "s"], ["replicas that the forecast asks for", d.forecast_replicas], ["replicas that the present needs", d.floor_replicas]];
      for (const [name, column, unit] of more) if (column && column[i] !== null) lines.push(`${name} ${figure(column[i], unit)}`);
      return lines.join("<br>");
    });
    add("replicas", { x: when(d), y: d.desired, name: "decision", showlegend: false, line: { width: 0, shape: "hv" }, text: told, hovertemplate: "%{text}<extra></extra>" });

    if (pool) {
      const nodes = (column, name, hex, more) => step("nodes", column, name, hex, { hoverinfo: undefined, hovertemplate: "%{y}", ...more });
      nodes(pool.pending, "pending", color("pending"), { fill: "tozeroy", fillcolor: faded(color("pending"), 0.25), line: { color: color("pending"), width: 1, shape: "hv" } });
      nodes(pool.empty, "ready and empty", color("empty"), { line: { color: color("empty"), width: 1, dash: "dot", shape: "hv" } });
      nodes(pool.ready, "ready", color("ready"));
      nodes(pool.asked, "asked", color("asked"));
      if (pool.floor) nodes({ t: pool.floor.t, v: pool.floor.v }, "floor", color("forecast"), { text: pool.floor.reasons.map(safe), hovertemplate: "%{y}, %{text}", line: { color: color("forecast"), width: 1.2, dash: "dash", shape: "hv" } });
    }

    line("lag", one.lag, "time lag", color("lag"), "s");
    add("lag", { x: range, y: range.map(() => one.within), name: `objective, ${figure(one.within, "s")}`, line: { color: color("faint"), width: 1.2, dash: "dash" }, hoverinfo: "skip" });

    const which = d.t.length < d.of ? `${fine.format(d.t.length)} of the run's ${fine.format(d.of)} decisions are there: those that changed the count or the reasons first` : `All ${fine.format(d.of)} decisions are there`;
    byId("timeline-note").textContent = `Rest on the replicas for a decision's reasons and numbers. ${which}. Drag over a chart to look closer; double-click to come back.`;
    return show("timeline", traces, layout);
  };

  // ---- how long requests took

  const latency = () => {
    const uid = service().uid, log = byId("latency-scale").value === "log";
    const traces = [];
    data.runs.forEach((of, i) => {
      const one = of.services.find((s) => s.uid === uid);
      if (!one || !one.latency.edges.length) return;
      const l = one.latency, y = log ? l.slower.map((s) => (s > 0 ? 100 * s : null)) : l.slower.map((s) => 100 * (1 - s));
      traces.push({
        type: "scatter", mode: "lines", name: safe(of.name), x: l.edges, y, line: { color: hue(i), width: 1.8, dash: DASHES[Math.floor(i / HUES.length) % DASHES.length] },
        text: l.slower.map((s) => `${percent(1 - s)} within`), hovertemplate: "%{text} %{x:.4~g} s",
      });
    });
    const layout = {
      ...base(), height: 400, hovermode: "closest", uirevision: uid + log, showlegend: true,
      xaxis: axis("latency, s", { exponentformat: "none", separatethousands: true, ...(log ? { type: "log", dtick: 1 } : { rangemode: "tozero" }) }),
      yaxis: log ? axis("share of requests that took longer", { type: "log", ticksuffix: " %", dtick: 1, exponentformat: "none" }) : axis("share of requests within", { ticksuffix: " %", rangemode: "tozero" }),
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    };
    const within = service().within;
    layout.shapes = [{ type: "line", xref: "x", yref: "paper", x0: within, x1: within, y0: 0, y1: 1, line: { color: color("faint"), width: 1.2, dash: "dash" } }];
    layout.annotations = [{ xref: "x", yref: "paper", x: log ? Math.log10(within) : within, y: 1, text: `objective, ${figure(within, "s")}`, showarrow: false, xanchor: "left", yanchor: "top", xshift: 4, font: { color: color("faint") } }];
    return show("latency", traces, layout);
  };

  // ---- what attainment costs

  const frontier = () => {
    const f = data.frontier, log = byId("frontier-scale").value === "log";
    const y = (p) => (log ? p.nines : 100 * p.attainment);
    const tell = (name, p) => `<b>${safe(name)}</b>${p.value === null || p.value === undefined ? "" : `, ${safe(p.parameter)} ${figure(p.value)}`}<br>attainment ${percent(p.attainment)}<br>${figure(p.gpu_hours)} GPU-hours`;
    const traces = f.sweeps.map((sweep, i) => ({
      type: "scatter", mode: "lines+markers", name: safe(sweep.policy), x: sweep.points.map((p) => p.gpu_hours), y: sweep.points.map(y),
      line: { color: hue(i), width: 1.5 }, marker: { symbol: SYMBOLS[i % SYMBOLS.length], size: 8 },
      text: sweep.points.map((p) => tell(sweep.policy, p)), hovertemplate: "%{text}<extra></extra>",
    }));
    const best = f.sweeps.flatMap((sweep) => sweep.points.filter((p) => p.best.length));
    if (best.length) {
      traces.push({
        type: "scatter", mode: "markers", name: `cheapest for ${f.shares.map(percent).join(" and ")}`, x: best.map((p) => p.gpu_hours), y: best.map(y),
        marker: { symbol: "circle-open", size: 17, color: color("ink"), line: { width: 1.6 } }, hoverinfo: "skip",
      });
    }
    if (f.runs.length) {
      traces.push({
        type: "scatter", mode: "markers", name: "runs of this report", x: f.runs.map((p) => p.gpu_hours), y: f.runs.map(y),
        marker: { symbol: "star", size: 14, color: color("forecast"), line: { width: 1, color: color("ink") } },
        text: f.runs.map((p) => tell(p.name, p)), hovertemplate: "%{text}<extra></extra>",
      });
    }
    const all = [...f.sweeps.flatMap((s) => s.points), ...f.runs, ...f.bound].map(y);
    const reach = log ? [Math.min(...all, 2) - 0.15, Math.max(...all, 3) + 0.15] : [Math.min(...all, 99) - 0.5, 100.2];
    if (f.bound.length) {
      // One point alone is drawn as a line from below up to what it reaches.
      const b = f.bound.length > 1 ? f.bound : [{ ...f.bound[0], foot: true }, f.bound[0]];
      traces.push({
        type: "scatter", mode: "lines+markers", name: "bound", x: b.map((p) => p.gpu_hours), y: b.map((p) => (p.foot ? reach[0] : y(p))),
        line: { color: color("ink"), width: 2, dash: "dash" }, marker: { symbol: "line-ew-open", size: 10 },
        text: b.map((p) => tell("bound", p)), hovertemplate: "%{text}<extra></extra>",
      });
    }
    const shares = [0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999];
    const ticks = shares.map((s) => [-Math.log10(1 - s), percent(s)]).concat([[5, "all"]]);
    const layout = {
      ...base(), height: 460, hovermode: "closest", uirevision: String(log), showlegend: true,
      xaxis: axis("GPU-hours", {}),
      yaxis: axis("attainment", { range: reach, ...(log ? { tickvals: ticks.map((t) => t[0]), ticktext: ticks.map((t) => t[1]) } : { ticksuffix: " %" }) }),
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
      shapes: f.shares.map((s) => ({ type: "line", xref: "paper", yref: "y", x0: 0, x1: 1, y0: log ? -Math.log10(1 - s) : 100 * s, y1: log ? -Math.log10(1 - s) : 100 * s, line: { color: color("faint"), width: 1, dash: "dot" } })),
    };
    return show("frontier", traces, layout);
  };

  // ---- tables

  const sortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, at) => head.querySelector("button").addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((h) => h.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.cells[at].dataset.key, text = (row) => row.cells[at].textContent;
      const order = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x !== undefined && y !== undefined) return (up ? 1 : -1) * (Number(x) - Number(y));
        if (x !== undefined || y !== undefined) return x === undefined ? 1 : -1; // what is not known comes last
        return (up ? 1 : -1) * text(a).localeCompare(text(b), "en");
      });
      table.tBodies[0].append(...order);
    }));
  };

  // ---- wiring

  const serviceNames = () => options(byId("service"), run().services.map((s) => s.uid), byId("service").selectedOptions[0]?.text);
  const draw = () => Promise.all([timeline(), latency(), frontier()]);
  options(byId("policy"), data.runs.map((of) => of.name));
  serviceNames();
  byId("policy").addEventListener("change", () => { serviceNames(); timeline(); });
  byId("service").addEventListener("change", () => { timeline(); latency(); });
  byId("whole").addEventListener("click", () => Plotly.relayout("timeline", { "xaxis.range": [run().start * 1000, (run().start + service().seconds) * 1000] }));
  byId("latency-scale").addEventListener("change", latency);
  byId("frontier-scale").addEventListener("change", frontier);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  document.querySelectorAll("table.sortable").forEach(sortable);
  draw().then(() => { document.documentElement.dataset.drawn = "yes"; });
})();
