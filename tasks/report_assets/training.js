header('training', `${data.system ? `${data.system} / ` : ''}${data.name}`, [
  data.champion && ['champion', `version ${data.champion.version}`],
  ['versions', format.count(data.versions.length)], ['runs', format.count(data.runs.length)],
  ['made', `${format.time(data.generated_at)} UTC`],
].filter(Boolean));

const named = (metric) => metric.replace(/^validation_/, '').replaceAll('_', ' ');
const champion = data.versions.find((one) => data.champion && one.version === data.champion.version);
if (champion) {
  tiles(document.getElementById('content'), Object.entries(champion.metrics).slice(0, 6).map(([name, value]) => [named(name), format.short(value)]));
}

const isLoss = (name) => name === 'total' || name.startsWith('loss');
const words = (one) => `${format.short(one.values[0])} to ${format.short(one.values[one.values.length - 1])}`;

function runView(run) {
  const parts = [];
  const pick = (split, fits) => run.series.filter((one) => one.split === split && fits(one.metric));
  const losses = pick('train', isLoss).slice(0, 4);
  if (losses.length) parts.push(lineChart('Training loss', words(losses[0]), losses, { log: true }));
  pick('validation', () => true).forEach((one) => parts.push(lineChart(`Validation: ${named(one.metric)}`, words(one), [one], { dots: one.steps.length < 80 })));
  pick('train', (name) => !isLoss(name)).forEach((one) => parts.push(lineChart(`Training: ${named(one.metric)}`, words(one), [one], { log: one.metric === 'gradient_norm' })));
  return parts.length ? el('div.grid2', {}, parts) : el('p.muted', {}, 'This run has no metrics yet.');
}

function picturesView(pictures) {
  const image = el('img.validation', {});
  const label = el('span.muted.small');
  const show = (i) => {
    image.src = pictures[i].image;
    image.alt = `Validation pictures at step ${format.count(pictures[i].step)}`;
    label.textContent = `step ${format.count(pictures[i].step)}`;
  };
  const last = pictures.length - 1;
  const input = el('input', { type: 'range', min: 0, max: last, value: last, 'aria-label': 'Step of the validation pictures', oninput: (event) => { show(Number(event.target.value)); event.target.setAttribute('aria-valuetext', label.textContent); } });
  show(last);
  input.setAttribute('aria-valuetext', label.textContent);
  return el('div.card', {}, image, el('div.steps', {}, input, label));
}

if (data.runs.length) {
  const curves = el('div');
  const pictures = section('Validation pictures');
  const show = (i) => {
    curves.replaceChildren(runView(data.runs[i]));
    pictures.hidden = !data.runs[i].pictures.length;
    [...pictures.children].slice(1).forEach((child) => child.remove());
    if (!pictures.hidden) pictures.append(picturesView(data.runs[i].pictures));
  };
  const pick = el('select', { 'aria-label': 'Run', onchange: (event) => show(Number(event.target.value)) },
    data.runs.map((run, i) => el('option', { value: i }, `${run.run} · ${format.count(run.last_step)} steps`)));
  const place = section('Curves', el('span.rest'), data.runs.length > 1 ? pick : el('code', {}, data.runs[0].run));
  place.append(curves);
  place.after(pictures);
  show(0);
}

if (data.versions.length) {
  const metrics = [...new Set(data.versions.flatMap((one) => Object.keys(one.metrics)))].slice(0, 6);
  const heads = ['Version', 'Made (UTC)', 'Run', 'Parent', 'Dataset', 'Weights', ...metrics];
  const best = data.champion ? data.champion.version : null;
  const rows = data.versions.map((one) => el('tr', {},
    el('td', {}, `${one.version} `, one.version === best ? el('span.pill', {}, 'champion') : null),
    el('td', {}, format.time(one.created_at)),
    [one.run, one.parent || '–', one.dataset_digest.slice(0, 16), one.digest].map((value) => el('td.mono', {}, value)),
    metrics.map((name) => el('td.num', {}, one.metrics[name] == null ? '–' : format.short(one.metrics[name])))));
  section('Versions').append(el('div.card.list', { tabindex: 0, role: 'region', 'aria-label': 'Versions, scrolls' },
    el('table', {}, el('thead', {}, el('tr', {}, heads.map((name, i) => el(i > 5 ? 'th.num' : 'th', { scope: 'col' }, i > 5 ? named(name) : name)))), el('tbody', {}, rows))));
}

if (data.champion) {
  section('Promotions').append(el('div.card.list', { tabindex: 0, role: 'region', 'aria-label': 'Promotions, scrolls' },
    el('table', {}, el('thead', {}, el('tr', {}, ['When (UTC)', 'Version', 'Reason'].map((name) => el('th', { scope: 'col' }, name)))),
      el('tbody', {}, [...data.champion.history].reverse().map((one) => el('tr', {}, el('td', {}, format.time(one.promoted_at)), el('td', {}, String(one.version)), el('td', {}, one.rollback ? `rollback: ${one.reason}` : one.reason)))))));
}
document.getElementById('foot').append('Made by pixelmill from the registry and the metrics of its training runs. One file; it asks no server for anything.');
