const SVG = 'http://www.w3.org/2000/svg';

function shape(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/* A figure whose drawing follows its width. `draw(width)` returns the parts of the SVG. */
function chart(title, note, height, words, draw) {
  const drawing = shape('svg', { role: 'img', 'aria-label': `${title}: ${words}`, height });
  const figure = el('figure.card.chart', {}, el('figcaption', {}, el('b', {}, title), el('span', {}, note)), drawing);
  let last = 0;
  const render = () => {
    const width = Math.round(drawing.getBoundingClientRect().width);
    if (!width || width === last) return;
    last = width;
    drawing.setAttribute('viewBox', `0 0 ${width} ${height}`);
    drawing.replaceChildren(...draw(width));
  };
  new ResizeObserver(render).observe(drawing);
  return figure;
}

function niceTop(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map((n) => n * power).find((n) => n >= value * 0.999);
}

const text = (x, y, words, anchor = 'middle') => shape('text', { x, y, 'text-anchor': anchor }, words);

function yAxis(width, left, top, bottom, most, label) {
  const parts = [];
  for (const share of [0, 0.5, 1]) {
    const y = bottom - share * (bottom - top);
    parts.push(shape('line', { x1: left, x2: width, y1: y, y2: y, class: share ? 'rule' : 'base' }));
    parts.push(text(left - 7, y + 4, label(most * share), 'end'));
  }
  return parts;
}

function bar(x, y, width, height, kind, words) {
  const node = shape('rect', { x, y, width, height, rx: Math.min(1.5, width / 3), class: `bar fill-${kind}` });
  node.append(shape('title', {}, words));
  return node;
}

function histogramChart(one) {
  const most = niceTop(Math.max(...one.counts));
  const [first, last] = [one.edges[0], one.edges[one.edges.length - 1]];
  const place = (value) => (one.log ? Math.log(value / first) / Math.log(last / first) : (value - first) / (last - first));
  const words = `median ${format.unit(one.median, one.unit)}, 95 % below ${format.unit(one.p95, one.unit)}`;
  return chart(one.title, words, 150, words, (width) => {
    const [left, top, bottom, right] = [40, 8, 122, 4];
    const span = width - left - right;
    const bars = one.counts.map((count, i) => {
      const [from, to] = [one.edges[i], one.edges[i + 1]].map(place);
      const height = (count / most) * (bottom - top);
      const range = `${format.unit(one.edges[i], one.unit)} to ${format.unit(one.edges[i + 1], one.unit)}: ${format.count(count)}`;
      return bar(left + from * span + 0.75, bottom - height, Math.max(1, (to - from) * span - 1.5), height, 'good', range);
    });
    const x = left + place(one.median) * span;
    const middle = one.log ? Math.sqrt(first * last) : (first + last) / 2;
    return [
      ...yAxis(width, left, top, bottom, most, format.short), ...bars,
      shape('line', { x1: x, x2: x, y1: top, y2: bottom, class: 'mark' }),
      text(left, 141, format.unit(first, one.unit), 'start'),
      text(left + span / 2, 141, format.unit(middle, one.unit)),
      text(width - right, 141, format.unit(last, one.unit), 'end'),
    ];
  });
}

function timelineChart(line) {
  const totals = line.ok.map((n, i) => (n + line.failed[i]) / line.step_s);
  const most = niceTop(Math.max(...totals));
  const seconds = line.ok.length * line.step_s;
  const done = line.ok.reduce((a, b) => a + b, 0);
  const failed = line.failed.reduce((a, b) => a + b, 0);
  const words = `${format.count(done)} ok, ${format.count(failed)} failed in ${format.seconds(seconds)}`;
  return chart('Images per second', words, 210, words, (width) => {
    const [left, top, bottom, right] = [40, 8, 180, 4];
    const step = (width - left - right) / totals.length;
    const parts = [];
    totals.forEach((_, i) => {
      let y = bottom;
      for (const [kind, count] of [['good', line.ok[i]], ['bad', line.failed[i]]]) {
        const height = ((count / line.step_s) / most) * (bottom - top);
        y -= height;
        const when = `${format.epoch(line.start + i * line.step_s)} UTC: ${count} ${kind === 'good' ? 'ok' : 'failed'} in ${format.seconds(line.step_s)}`;
        if (count) parts.push(bar(left + i * step + step * 0.09, y, Math.max(1, step * 0.82), height, kind, when));
      }
    });
    return [
      ...yAxis(width, left, top, bottom, most, format.short), ...parts,
      text(left, 201, `${format.epoch(line.start)} UTC`, 'start'),
      text(width - right, 201, `+${format.seconds(seconds)}`, 'end'),
    ];
  });
}

/* series: [{name, steps, values}]; points are joined in order of their steps */
function lineChart(title, note, series, { log = false, dots = false } = {}) {
  const values = series.flatMap((one) => one.values).filter((v) => v != null && (!log || v > 0));
  const steps = series.flatMap((one) => one.steps);
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (low === high) { low -= Math.abs(low) * 0.05 || 0.5; high += Math.abs(high) * 0.05 || 0.5; }
  const logged = log && low > 0;
  const scale = (v) => (logged ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low));
  const [first, last] = [Math.min(...steps), Math.max(...steps)];
  return chart(title, note, 200, `from ${format.short(values[0])} to ${format.short(values[values.length - 1])}`, (width) => {
    const [left, top, bottom, right] = [56, 10, 170, 8];
    const x = (step) => left + ((step - first) / Math.max(1, last - first)) * (width - left - right);
    const y = (v) => bottom - scale(v) * (bottom - top);
    const parts = [0, 1 / 3, 2 / 3, 1].flatMap((share) => {
      const value = logged ? low * (high / low) ** share : low + share * (high - low);
      return [shape('line', { x1: left, x2: width, y1: y(value), y2: y(value), class: share ? 'rule' : 'base' }),
        text(left - 7, y(value) + 4, format.short(value), 'end')];
    });
    series.forEach((one, k) => {
      const points = one.steps.map((step, i) => [x(step), one.values[i], step]).filter(([, v]) => v != null && (!logged || v > 0));
      parts.push(shape('path', { d: points.map(([px, v], i) => `${i ? 'L' : 'M'}${px.toFixed(1)} ${y(v).toFixed(1)}`).join(''), class: `line s${k % 4}` }));
      if (dots || points.length < 40) {
        points.forEach(([px, v, step]) => {
          const dot = shape('circle', { cx: px, cy: y(v), r: 2.5, class: `dot s${k % 4}` });
          dot.append(shape('title', {}, `step ${format.count(step)}: ${format.short(v)}`));
          parts.push(dot);
        });
      }
    });
    return [...parts, text(left, 191, `step ${format.count(first)}`, 'start'), text(width - right, 191, format.count(last), 'end')];
  });
}
