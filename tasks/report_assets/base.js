const data = JSON.parse(document.getElementById('data').textContent);

/* Everything that is shown goes through here: texts are text, never markup. */
function el(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split('.');
  const node = document.createElement(tag || 'div');
  if (classes.length) node.className = classes.join(' ');
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, '');
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children.flat().filter((child) => child != null && child !== false));
  return node;
}

const format = {
  count: (n) => Math.round(n).toLocaleString('en-US'),
  fixed: (n, digits = 2) => (n == null ? '–' : n.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })),
  short: (n) => (n === 0 ? '0' : Number(n.toPrecision(3)).toLocaleString('en-US', { maximumFractionDigits: 6 })),
  bytes(n) {
    if (n == null) return '–';
    const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
    let i = 0;
    while (n >= 999.5 && i < units.length - 1) { n /= 1000; i += 1; }
    return `${i === 0 || n >= 100 ? Math.round(n) : n.toFixed(n >= 10 ? 1 : 2)} ${units[i]}`;
  },
  seconds(s) {
    if (s == null) return '–';
    if (s < 0.0995) return `${(s * 1000).toFixed(s < 0.00995 ? 1 : 0)} ms`;
    if (s < 100) return `${s.toFixed(s < 10 ? 2 : 1)} s`;
    if (s < 5400) return `${Math.floor(s / 60)} min ${String(Math.round(s % 60)).padStart(2, '0')} s`;
    return `${(s / 3600).toFixed(1)} h`;
  },
  time: (iso) => (iso ? `${iso.slice(0, 10)} ${iso.slice(11, 19)}` : '–'),
  epoch: (s) => new Date(s * 1000).toISOString().replace('T', ' ').slice(0, 19),
  unit(value, unit) {
    if (unit === 'B') return format.bytes(value);
    if (unit === 's') return format.seconds(value);
    if (unit === 'MP' && value < 0.1) return `${format.count(value * 1e6)} px`;
    return unit ? `${format.short(value)} ${unit}` : format.short(value);
  },
};

const stored = (() => { try { return localStorage.getItem('pixelmill-theme'); } catch { return null; } })();
const system = matchMedia('(prefers-color-scheme: dark)');
let chosen = stored === 'dark' || stored === 'light' ? stored : null;
const themed = [];
const theme = () => chosen || (system.matches ? 'dark' : 'light');
function applyTheme() {
  document.documentElement.dataset.theme = theme();
  themed.forEach((tell) => tell(theme()));
}
system.addEventListener('change', applyTheme);

function themeButton() {
  const button = el('button', {
    type: 'button',
    onclick() {
      chosen = theme() === 'dark' ? 'light' : 'dark';
      try { localStorage.setItem('pixelmill-theme', chosen); } catch { /* a page may not store */ }
      applyTheme();
    },
  });
  themed.push((now) => { button.textContent = now === 'dark' ? 'Light' : 'Dark'; button.setAttribute('aria-label', `Switch to the ${now === 'dark' ? 'light' : 'dark'} theme`); });
  return button;
}

function header(kind, title, chips) {
  document.getElementById('head').append(
    el('div.words', {},
      el('p.brand', {}, `pixelmill · ${kind}`),
      el('h1', {}, title),
      el('div.chips', {}, chips.map(([label, value]) => el('span', {}, `${label} `, el('b', {}, value))))),
    themeButton());
  applyTheme();
}

function section(title, ...controls) {
  const node = el('section', {}, el('div.head', {}, el('h2', {}, title), controls));
  document.getElementById('content').append(node);
  return node;
}

function tiles(parent, values) {
  const list = values.filter((one) => one).map(([label, value, unit, kind]) =>
    el(kind ? `div.tile.${kind}` : 'div.tile', {}, el('dt', {}, label), el('dd', {}, value, unit ? el('small', {}, unit) : null)));
  parent.append(el('dl.tiles', {}, list));
}

function segments(name, legend, options, change) {
  const labels = options.map((option, i) => el('label', {},
    el('input', { type: 'radio', name, value: i, checked: i === 0, onchange: () => change(i) }),
    el('span', {}, option)));
  return el('fieldset.segments', {}, el('legend', {}, legend), labels);
}

function facts(entries) {
  return entries.flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]);
}
