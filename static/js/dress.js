// From a semantic figure to one Plotly draws: colours from the page's CSS, sizes from its width.

// As in the style sheets, which give figures their height.
const NARROW = "(max-width: 760px)";

// Resolves any CSS colour, light-dark() and color-mix() too, by letting the browser compute it.
export function makePalette() {
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const resolve = (css) => {
    if (!known.has(css)) {
      probe.style.color = css;
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = getComputedStyle(probe).color;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b] = canvas.getImageData(0, 0, 1, 1).data;
      known.set(css, `rgb(${r}, ${g}, ${b})`);
    }
    return known.get(css);
  };
  const font = getComputedStyle(document.body).fontFamily;
  return {
    of: (name) => resolve(`var(--${name})`),
    series: ({ place, shade }) => {
      const own = `var(--series-${place})`;
      const mixed = [
        own,
        `color-mix(in oklab, ${own}, var(--panel) 35%)`,
        `color-mix(in oklab, ${own}, var(--ink) 35%)`,
        `color-mix(in oklab, ${own}, var(--panel) 60%)`,
      ];
      return resolve(mixed[shade ?? 0]);
    },
    font,
    done: () => probe.remove(),
  };
}

function dressBar(trace, palette) {
  const colour = palette.series(trace.meta);
  const panel = palette.of("panel");
  trace.marker = { color: colour, line: { color: panel, width: 0.6 } };
  if (trace.meta.local) {
    trace.marker.pattern = { shape: "/", size: 6, solidity: 0.48, fgcolor: colour, bgcolor: panel };
    trace.marker.line = { color: colour, width: 1 };
  } else if (trace.meta.dotted) {
    trace.marker.pattern = { shape: ".", size: 5, solidity: 0.3, fgcolor: panel, bgcolor: colour };
  }
}

function dressMark(trace, palette) {
  const colour = palette.series(trace.meta);
  trace.marker = {
    ...trace.marker,
    color: trace.meta.local ? palette.of("panel") : colour,
    line: { color: colour, width: trace.meta.local ? 3 : 0 },
    opacity: 1,
  };
  trace.textfont = { color: palette.of("ink"), size: 12 };
}

const ROLES = {
  total: (trace) => {
    trace.marker = { opacity: 0, size: 1, color: "rgba(0, 0, 0, 0)" };
  },
  "end-label": (trace, palette) => {
    trace.marker = { opacity: 0, size: 1, color: "rgba(0, 0, 0, 0)" };
    trace.textfont = { color: palette.of("ink-2"), size: 12 };
    trace.cliponaxis = false;
  },
  "band-low": (trace) => {
    trace.line = { width: 0 };
  },
  "band-high": (trace, palette) => {
    trace.line = { width: 0 };
    trace.fill = "tonexty";
    trace.fillcolor = palette.of("forecast-band");
  },
  forecast: (trace, palette) => {
    trace.line = { color: palette.of("accent"), width: 2, dash: "dash" };
  },
  interval: (trace, palette) => {
    trace.line = { color: palette.of("line-strong"), width: 4 };
  },
  miss: (trace, palette) => {
    trace.marker = { size: 11, color: palette.of("accent"), line: { width: 0 }, opacity: 1 };
  },
  requests: (trace, palette) => {
    trace.marker = {
      color: palette.of("chip"),
      line: { color: palette.of("line-strong"), width: 1 },
    };
    trace.textfont = { color: palette.of("ink-2"), size: 12 };
  },
  limit: (trace, palette) => {
    trace.line = { color: palette.of("bad"), width: 1.6 };
  },
  spent: (trace, palette) => {
    trace.line = { color: palette.of("ink"), width: 2.4 };
  },
  usual: (trace, palette) => {
    trace.line = { color: palette.of("line-strong"), width: 1.2, dash: "dot" };
  },
  today: (trace, palette) => {
    trace.line = { color: palette.of("accent"), width: 2 };
  },
  gain: (trace, palette) => {
    trace.marker = { color: palette.of("accent"), line: { width: 0 } };
    trace.textfont = { color: palette.of("ink-2"), size: 12 };
  },
  loss: (trace, palette) => {
    trace.marker = { color: palette.of("bad"), line: { width: 0 } };
    trace.textfont = { color: palette.of("bad"), size: 12 };
  },
  unit: (trace, palette) => {
    trace.line = { color: palette.series(trace.meta), width: 2, dash: trace.meta.local ? "dash" : "solid" };
    trace.marker = { size: 4, color: palette.series(trace.meta) };
  },
  revenue: (trace, palette) => {
    trace.line = { color: palette.of("ink"), width: 2 };
    trace.marker = { size: 4, color: palette.of("ink") };
  },
  "bad-hour": (trace, palette) => {
    trace.marker = { size: 8, color: palette.of("bad"), line: { color: palette.of("panel"), width: 1.5 }, opacity: 1 };
  },
  "bridge-more": (trace, palette) => {
    trace.marker = { color: palette.of("bad"), line: { width: 0 } };
    trace.textfont = { color: palette.of("ink-2"), size: 12 };
  },
  "bridge-less": (trace, palette) => {
    const colour = palette.of("good");
    // Hatched: what took money back is told from what added it without colour too.
    trace.marker = {
      color: colour,
      line: { color: colour, width: 1 },
      pattern: { shape: "/", size: 6, solidity: 0.5, fgcolor: colour, bgcolor: palette.of("panel") },
    };
    trace.textfont = { color: palette.of("ink-2"), size: 12 };
  },
  "bridge-sum": (trace, palette) => {
    trace.marker = { color: palette.of("line-strong"), line: { width: 0 } };
    trace.textfont = { color: palette.of("ink"), size: 12 };
  },
  "own-curve": (trace, palette) => {
    trace.line = { color: palette.series(trace.meta), width: 3.2 };
  },
  level: (trace, palette) => {
    trace.line = {
      color: palette.series(trace.meta),
      width: 1.6,
      dash: trace.meta.dotted ? "dot" : "solid",
    };
  },
  "break-even": (trace, palette) => {
    const line = { color: palette.series(trace.meta), width: 2.4 };
    trace.marker = { size: 11, color: palette.of("panel"), line, opacity: 1 };
  },
  now: (trace, palette) => {
    trace.marker = { size: 10, color: palette.of("ink"), line: { width: 0 }, opacity: 1 };
    trace.textfont = { color: palette.of("ink"), size: 12 };
    trace.cliponaxis = false;
  },
};

function dressTrace(trace, palette) {
  const role = trace.meta.role;
  const shape = trace.line?.shape;
  if (role) {
    ROLES[role](trace, palette);
    // What holds until it changes is drawn in steps.
    if (shape) trace.line.shape = shape;
  }
  else if (trace.type === "bar") {
    dressBar(trace, palette);
    trace.textfont = { color: palette.of("ink"), size: 12 };
  } else dressMark(trace, palette);
}

const CHARACTER_PX = 6.7;

// The densest set of labels of which no two come closer than some air, and none leaves the edge.
function chooseTicks({ layout, width }) {
  const inner = width - layout.margin.l - layout.margin.r;
  const step = inner / layout.xaxis.categoryarray.length;
  const half = (text) => (text.length * CHARACTER_PX) / 2;
  const fits = ({ at, text }) =>
    at.every((place, n) => n === 0 || (place - at[n - 1]) * step >= half(text[n - 1]) + half(text[n]) + 9);
  const { at, text } = layout.meta.ticks.find(fits) ?? layout.meta.ticks.at(-1) ?? { at: [], text: [] };
  const kept = at.map((place, n) => [place, text[n]]).filter(
    ([place, label]) => (at.length && (place + 0.5) * step + half(label) <= inner + layout.margin.r),
  );
  Object.assign(layout.xaxis, {
    tickmode: "array",
    tickvals: kept.map(([place]) => place),
    ticktext: kept.map(([, label]) => label),
  });
}

// Room for the longest of some names, within reason.
function roomFor(names, most) {
  return Math.min(most, 10 + CHARACTER_PX * Math.max(0, ...names.map((name) => name.length)));
}

// On a phone a name beside its bar would leave no bar: it goes above.
function namesAbove(layout, names, places, lift, palette) {
  layout.yaxis.showticklabels = false;
  layout.margin.l = 2;
  layout.annotations = names.map((name, n) => ({
    xref: "paper",
    x: 0,
    xanchor: "left",
    yref: "y",
    y: places[n],
    yshift: lift,
    yanchor: "bottom",
    showarrow: false,
    text: name,
    font: { size: 12, color: palette.of("ink-2") },
  }));
}

// Room to the right of the longest bar, in pixels, given as data range: Plotly knows only the latter.
function roomAtEnd(layout, longest, width, pixels) {
  const inner = Math.max(120, width - layout.margin.l - layout.margin.r);
  layout.xaxis.range = [0, (longest || 1) * (inner / Math.max(60, inner - pixels))];
}

const KINDS = {
  days: ({ layout, width }) => {
    layout.margin = { l: 46, r: 4, t: 8, b: 26 };
    layout.bargap = 0.24;
    chooseTicks({ layout, width });
  },
  shares: ({ layout, width, narrow, palette }) => {
    const names = layout.annotations.map((note) => note.text);
    layout.margin = { l: 42, r: narrow ? 6 : roomFor(names, 190) + 20, t: 8, b: 26 };
    layout.bargap = 0.06;
    chooseTicks({ layout, width });
    layout.annotations = narrow ? [] : layout.annotations.map((note) => directLabel(note, palette));
  },
  allocation: ({ layout, data, width, narrow, palette }) => {
    layout.margin = { l: 10, r: 8, t: 2, b: 26 };
    layout.bargap = narrow ? 0.56 : 0.34;
    const names = layout.yaxis.categoryarray;
    layout.yaxis.automargin = !narrow;
    if (narrow) namesAbove(layout, names, names, 8, palette);
    const ends = data.find((trace) => trace.meta.role === "end-label");
    roomAtEnd(layout, Math.max(0, ...ends.x), width - (narrow ? 0 : roomFor(names, 190)), 60);
  },
  pair: ({ layout, data, width, narrow, palette }) => {
    layout.margin = { l: 10, r: 8, t: 2, b: 26 };
    const names = layout.yaxis.ticktext;
    layout.yaxis.automargin = !narrow;
    if (narrow) namesAbove(layout, names, layout.yaxis.tickvals, 11, palette);
    const longest = Math.max(0, ...data.map((trace) => trace.x[0]));
    roomAtEnd(layout, longest, width - (narrow ? 0 : roomFor(names, 190)), 110);
    if (narrow) {
      for (const trace of data) {
        trace.y = trace.y.map((y) => Math.round(y) + (y - Math.round(y)) * 0.72 + 0.12);
        trace.width = 0.26;
      }
    }
  },
  margins: ({ layout, data, width, narrow, palette }) => {
    layout.margin = { l: 10, r: 8, t: 2, b: 26 };
    layout.bargap = narrow ? 0.56 : 0.34;
    const names = layout.yaxis.ticktext;
    layout.yaxis.automargin = !narrow;
    if (narrow) namesAbove(layout, names, layout.yaxis.tickvals, 8, palette);
    // Figures stand outside their bars, on both sides: room for them in the data's own units.
    const values = data.flatMap((trace) => trace.x);
    const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
    const inner = Math.max(120, width - 20 - (narrow ? 0 : roomFor(names, 190)));
    const room = ((high - low || 1) * 62) / Math.max(60, inner - 124);
    layout.xaxis.range = [low < 0 ? low - room : 0, high > 0 ? high + room : 0];
    layout.xaxis.zeroline = true;
    layout.xaxis.zerolinecolor = palette.of("line-strong");
  },
  misses: ({ layout, narrow, palette }) => {
    layout.margin = { l: 10, r: 14, t: 2, b: 26 };
    layout.yaxis.automargin = !narrow;
    const { ticktext, tickvals } = layout.yaxis;
    if (narrow && ticktext) namesAbove(layout, ticktext, tickvals, 4, palette);
    layout.xaxis.zerolinecolor = palette.of("ink-3");
  },
  ladder: ({ layout, data, width }) => {
    layout.margin = { l: 12, r: 12, t: 2, b: 26 };
    layout.yaxis.showticklabels = false;
    // The axis reaches as far as the words beside the marks need.
    const [low, high] = layout.xaxis.range;
    const inner = width - 24;
    const ends = data.map((trace) => {
      const words = trace.text[0].replace(/<[^>]*>/g, "").length * 6.9 + 14;
      return low + ((Math.log10(trace.x[0]) - low) * inner) / Math.max(60, inner - words);
    });
    layout.xaxis.range = [low, Math.max(high, ...ends)];
  },
  curve: ({ layout, narrow, palette }) => {
    const names = layout.annotations.map((note) => note.text);
    layout.margin = { l: 46, r: narrow ? 22 : roomFor(names, 190) + 20, t: 8, b: 28 };
    layout.annotations = narrow ? [] : layout.annotations.map((note) => directLabel(note, palette));
  },
  bridge: ({ layout, palette }) => {
    layout.margin = { l: 46, r: 8, t: 20, b: 26 };
    layout.bargap = 0.3;
    layout.yaxis.zerolinecolor = palette.of("line-strong");
    layout.yaxis.zerolinewidth = 1;
  },
  spark: ({ layout }) => {
    layout.margin = { l: 1, r: 1, t: 3, b: 2 };
    layout.xaxis.visible = false;
    layout.yaxis.visible = false;
  },
};

function directLabel(note, palette) {
  const [, place, shade, local] = note.name.split(":");
  const colour = palette.series({ place, shade: Number(shade) });
  const mark = local === "1" ? "▨" : "■";
  return {
    ...note,
    xshift: 6,
    font: { size: 12, color: palette.of("ink-2") },
    text: `<span style="color:${colour}">${mark}</span> ${note.text}`,
  };
}

function sayNothing(layout) {
  layout.xaxis = { visible: false };
  layout.yaxis = { visible: false };
  layout.annotations = [
    { xref: "paper", yref: "paper", x: 0.5, y: 0.5, showarrow: false, text: "nothing to draw yet" },
  ];
}

const HORIZONTAL = new Set(["allocation", "pair", "ladder", "margins", "misses"]);

export function dress(figure, width, palette) {
  const { data, layout } = structuredClone(figure);
  const { kind } = layout.meta;
  const narrow = matchMedia(NARROW).matches;
  const axis = {
    zeroline: false,
    fixedrange: true,
    automargin: false,
    showspikes: false,
    // Ticks are unseen: they keep labels a step away from the axis.
    ticks: "outside",
    ticklen: 5,
    tickcolor: "rgba(0, 0, 0, 0)",
  };
  const grid = { gridcolor: palette.of("line"), gridwidth: 1 };
  const bare = { showgrid: false, linecolor: palette.of("line-strong"), showline: true };
  const horizontal = HORIZONTAL.has(kind);
  layout.xaxis = { ...axis, ...(horizontal ? grid : bare), ...layout.xaxis };
  layout.yaxis = { ...axis, ...(horizontal ? { showgrid: false } : grid), ...layout.yaxis };
  Object.assign(layout, {
    paper_bgcolor: "rgba(0, 0, 0, 0)",
    plot_bgcolor: "rgba(0, 0, 0, 0)",
    font: { family: palette.font, size: 12, color: palette.of("ink-3") },
    // Decimal and grouping marks as the page's own figures have them.
    separators: document.documentElement.dataset.marks,
    showlegend: false,
    dragmode: false,
    autosize: true,
    hoverlabel: {
      bgcolor: palette.of("raised"),
      bordercolor: palette.of("line-strong"),
      font: { family: palette.font, size: 12, color: palette.of("ink") },
      align: "left",
    },
  });
  for (const trace of data) dressTrace(trace, palette);
  if (layout.meta.empty) sayNothing(layout);
  else KINDS[kind]({ data, layout, width, narrow, palette });
  const config = { displayModeBar: false, responsive: false, staticPlot: kind === "spark" };
  return { data, layout, config };
}
