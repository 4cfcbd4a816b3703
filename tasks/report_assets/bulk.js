const newest = data.runs[0];
header('report', data.destination, [
  newest && ['job', newest.job], newest && ['model', newest.model], newest && ['on', `${newest.device}, ${newest.precision}`],
  ['runs', format.count(data.runs.length)], ['made', `${format.time(data.generated_at)} UTC`],
].filter(Boolean));

const { totals } = data;
const megapixels = totals.output_pixels / 1e6;
tiles(document.getElementById('content'), [
  ['images done', format.count(totals.ok)],
  ['failed', format.count(totals.failed), totals.failed ? `${format.fixed((100 * totals.failed) / totals.sources, 1)} %` : '', totals.failed ? 'bad' : ''],
  totals.per_second != null && ['throughput', format.fixed(totals.per_second, totals.per_second < 10 ? 2 : 0), 'images/s'],
  totals.median_s != null && ['median work per image', ...format.seconds(totals.median_s).split(/ (?=\D+$)/)],
  ['written', ...format.bytes(totals.output_bytes).split(' ')],
  megapixels > 0 && ['output', ...(megapixels < 1000 ? [format.fixed(megapixels, megapixels < 100 ? 1 : 0), 'MP'] : [format.fixed(megapixels / 1000, 1), 'GP'])],
  totals.psnr != null && ['mean PSNR', format.fixed(totals.psnr), 'dB'],
  totals.ssim != null && ['mean SSIM', format.fixed(totals.ssim, 4)],
]);

const shownPictures = gallery(data.pictures.groups, data.pictures.pictures);
if (shownPictures) {
  const place = section('Before and after', el('span.rest'), shownPictures.which, shownPictures.how);
  place.append(shownPictures.grid);
  const missing = [
    data.pictures.unreadable && `${data.pictures.unreadable} could not be read any more`,
    data.pictures.left_out && `${data.pictures.left_out} were left out to keep the page small`,
  ].filter(Boolean).join('; ');
  if (missing) place.append(el('p.muted.small', {}, `Of the pictures chosen, ${missing}.`));
}

if (data.timelines.length) {
  const holder = el('div');
  const show = (i) => holder.replaceChildren(timelineChart(data.timelines[i]));
  const pick = el('select', { 'aria-label': 'Run', onchange: (event) => show(Number(event.target.value)) },
    data.timelines.map((line, i) => el('option', { value: i }, line.run)));
  section('Throughput', el('span.rest'), data.timelines.length > 1 ? pick : null).append(holder);
  show(0);
}

const work = Object.entries(data.stages);
const allWork = work.reduce((sum, [, seconds]) => sum + seconds, 0);
const measures = section('Where time and bytes go');
if (allWork > 0) {
  measures.append(el('div.card', {},
    el('h3', {}, `Work: ${format.seconds(allWork)} of processor time`),
    el('div.split', { role: 'img', 'aria-label': work.map(([name, s]) => `${name} ${format.fixed((100 * s) / allWork, 0)} %`).join(', ') },
      work.map(([name, seconds]) => { const part = el(`i.c-${name}`); part.style.flex = `${seconds} 0 0`; return part; })),
    el('div.key', {}, work.map(([name, seconds]) => el('span', {}, el(`i.c-${name}`), `${name} ${format.seconds(seconds)}, ${format.fixed((100 * seconds) / allWork, 0)} %`)))));
}
const charts = el('div.grid2', {}, data.histograms.map(histogramChart));
charts.style.marginTop = '16px';
measures.append(charts);

const rows = rowsTable(data.table);
if (data.failures.length) {
  const most = data.failures[0].count;
  const failures = section('Failures', el('span.rest'), el('span.muted.small', {}, 'Tried again by the next run'));
  failures.append(el('div.card.kinds', {}, data.failures.map((kind) => {
    const meter = el('i');
    meter.style.width = `${(100 * kind.count) / most}%`;
    const all = kind.sources.map((source, i) => el('li', {}, el('code', {}, source), el('span.muted', {}, kind.errors[i])));
    return el('details', {},
      el('summary', {}, el('b', {}, kind.kind), el('span.count', {}, format.count(kind.count)), el('span.meter', { 'aria-hidden': 'true' }, meter), el('span.example', {}, kind.errors[0])),
      el('ul', { tabindex: 0, 'aria-label': `Sources that failed as ${kind.kind}` }, all),
      el('div.more', {}, el('button.plain', { type: 'button', onclick: () => { rows.show(kind.kind); rows.box.scrollIntoView({ block: 'center' }); rows.box.focus(); } }, 'Show them in the table')));
  })));
}

section('Sources', rows.count).append(
  el('div.head', {}, rows.search, rows.status), rows.box,
  el('p.small.muted.under', {}, 'Below ', el('code', {}, data.table.prefix || '/'), '. The whole truth, for DuckDB or Polars: ', el('code', {}, `${data.destination}/manifest/*/*.parquet`)));

if (data.runs.length) {
  const cells = (run) => [
    [run.run, 'mono'], [run.job], [run.model, 'mono'], [run.status], [format.time(run.started_at)],
    [run.seconds == null ? '–' : format.seconds(run.seconds), 'num'], [format.count(run.ok), 'num'], [format.count(run.failed), 'num'],
    [run.seconds ? format.fixed(run.ok / run.seconds) : '–', 'num']];
  const list = el('table', {}, el('thead', {}, el('tr', {}, ['Run', 'Job', 'Model', 'State', 'Started (UTC)', 'Took', 'Ok', 'Failed', 'Images/s'].map((name, i) => el(i > 4 ? 'th.num' : 'th', { scope: 'col' }, name)))),
    el('tbody', {}, data.runs.slice(0, 50).map((run) => el('tr', {}, cells(run).map(([value, kind]) => el(kind ? `td.${kind}` : 'td', {}, value))))));
  const place = section('Runs');
  place.append(el('div.card.list', { tabindex: 0, role: 'region', 'aria-label': 'Runs, scrolls' }, list));
  const shown = (value) => (typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value));
  const columns = [['Parameters of the newest run', newest.parameters], ['Versions', newest.versions], ['Model', { model: newest.model, digest: newest.model_digest, config: newest.config_digest, device: newest.device, precision: newest.precision }]]
    .filter(([, values]) => values && typeof values === 'object' && Object.keys(values).length)
    .map(([title, values]) => el('div.card', {}, el('h3', {}, title), el('dl.facts-list', {}, facts(Object.entries(values).filter(([, v]) => v !== null).map(([name, value]) => [name, el('span.mono', {}, shown(value))])))));
  place.append(el('div.grid3', {}, columns));
}
document.getElementById('foot').append('Made by pixelmill from the manifest. The page is one file and asks no server for anything.');
