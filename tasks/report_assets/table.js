const ROW = 36;
const SPARE = 8;

/* The rows of the manifest: only those in sight are in the document. */
function rowsTable(source) {
  const { columns: c, kinds, runs } = source;
  const total = c.source.length;
  const work = c.source.map((_, i) => c.decode[i] + c.infer[i] + c.encode[i]);
  const hay = c.source.map((name, i) => `${name}\n${c.error[i]}`.toLowerCase());
  const area = (w, h) => (w == null ? null : w * h);
  const size = (w, h) => (w == null ? '–' : `${w}×${h}`);
  const narrow = matchMedia('(max-width: 720px)');
  const everything = [
    { name: 'Status', width: narrow.matches ? 104 : 148, key: (i) => c.ok[i] * 1000 + c.kind[i], cell: (i) => el(c.ok[i] ? 'span.pill' : 'span.pill.bad', {}, c.ok[i] ? 'ok' : kinds[c.kind[i]] || 'failed') },
    { name: 'Source', kind: 'name', key: (i) => i, cell: (i) => el('button', { type: 'button', title: c.source[i], onclick: () => detail(i) }, c.source[i]) },
    { name: 'Pixels in', kind: 'num', wide: true, width: 108, key: (i) => area(c.width[i], c.height[i]), cell: (i) => size(c.width[i], c.height[i]) },
    { name: 'Pixels out', kind: 'num', wide: true, width: 112, key: (i) => area(c.output_width[i], c.output_height[i]), cell: (i) => size(c.output_width[i], c.output_height[i]) },
    { name: 'Bytes in', kind: 'num', wide: true, width: 98, key: (i) => c.source_bytes[i], cell: (i) => format.bytes(c.source_bytes[i]) },
    { name: 'Bytes out', kind: 'num', wide: true, width: 102, key: (i) => c.output_bytes[i], cell: (i) => format.bytes(c.output_bytes[i]) },
    { name: 'Work', kind: 'num', wide: true, width: 92, key: (i) => (work[i] > 0 ? work[i] : null), cell: (i) => (work[i] > 0 ? format.seconds(work[i]) : '–') },
    c.psnr && { name: 'PSNR', kind: 'num', width: 86, key: (i) => c.psnr[i], cell: (i) => format.fixed(c.psnr[i]) },
    { name: 'Finished', kind: 'num', wide: true, width: 168, key: (i) => c.at[i], cell: (i) => format.epoch(c.at[i]) },
  ].filter(Boolean);

  let order = c.source.map((_, i) => i);
  let [sorted, down, frame, layout, heads] = [everything[1], false, 0, [], []];
  const body = el('tbody');
  const [above, below] = [el('td'), el('td')];
  const [widths, head] = [el('colgroup'), el('tr', { 'aria-rowindex': 1 })];
  const table = el('table', { 'aria-label': 'Sources and what became of them' }, widths, el('thead', {}, head),
    el('tbody.spacer', { 'aria-hidden': 'true' }, el('tr', {}, above)), body,
    el('tbody.spacer', { 'aria-hidden': 'true' }, el('tr', {}, below)));

  function columns() {
    layout = everything.filter((column) => !(narrow.matches && column.wide));
    heads = layout.map((column) => el('th', { scope: 'col', class: column.kind },
      el('button', { type: 'button', onclick: () => { down = sorted === column && !down; sorted = column; refresh(true); } }, column.name)));
    head.replaceChildren(...heads);
    widths.replaceChildren(...layout.map((column) => { const col = el('col'); if (column.width) col.style.width = `${column.width}px`; return col; }));
    [above, below].forEach((cell) => cell.setAttribute('colspan', layout.length));
  }
  const box = el('div.rows', { tabindex: 0, role: 'region', 'aria-label': 'Table of sources, scrolls' }, table);
  const count = el('span.muted.small', { role: 'status' });

  function visible() {
    frame = 0;
    const from = Math.max(0, Math.floor(box.scrollTop / ROW) - SPARE);
    const to = Math.min(order.length, from + Math.ceil(box.clientHeight / ROW) + 2 * SPARE);
    above.style.height = `${from * ROW}px`;
    below.style.height = `${(order.length - to) * ROW}px`;
    const focused = document.activeElement && body.contains(document.activeElement) ? document.activeElement.dataset.row : null;
    body.replaceChildren(...order.slice(from, to).map((i, n) => el('tr.row', { 'aria-rowindex': from + n + 2 },
      layout.map((column) => el('td', { class: column.kind }, column.cell(i))))));
    order.slice(from, to).forEach((i, n) => { body.rows[n].querySelector('button').dataset.row = i; });
    if (focused != null) body.querySelector(`button[data-row="${focused}"]`)?.focus({ preventScroll: true });
  }

  const search = el('input', { type: 'search', placeholder: 'Filter by name or error', 'aria-label': 'Filter by name or error', oninput: () => refresh(true) });
  const status = el('select', { 'aria-label': 'Status', onchange: () => refresh(true) },
    ['all', 'ok', 'failed', ...kinds].map((name, k) => el('option', { value: name }, k === 0 ? 'All statuses' : name)));

  function refresh(top) {
    const wanted = search.value.trim().toLowerCase();
    const kind = status.value;
    const kept = [];
    for (let i = 0; i < total; i += 1) {
      const fits = kind === 'all' || (kind === 'ok' ? c.ok[i] === 1 : kind === 'failed' ? c.ok[i] === 0 : kinds[c.kind[i]] === kind);
      if (fits && (!wanted || hay[i].includes(wanted))) kept.push(i);
    }
    const inOrder = sorted === everything[1]; // rows come by their sources
    if (inOrder && down) kept.reverse();
    const keys = new Float64Array(inOrder ? 0 : total);
    if (!inOrder) for (const i of kept) { const key = sorted.key(i); keys[i] = key == null ? NaN : key; }
    if (!inOrder) kept.sort((a, b) => {
      const [x, y] = [keys[a], keys[b]];
      if (x !== x || y !== y) return (x !== x) - (y !== y) || a - b; // what has no value comes last
      return (down ? y - x : x - y) || a - b;
    });
    order = kept;
    layout.forEach((column, k) => {
      const chosen = column === sorted;
      heads[k].setAttribute('aria-sort', chosen ? (down ? 'descending' : 'ascending') : 'none');
      heads[k].firstChild.textContent = column.name + (chosen ? (down ? ' ↓' : ' ↑') : '');
    });
    table.setAttribute('aria-rowcount', order.length + 1);
    const held = source.total > total ? `, of ${format.count(source.total)} in the manifest` : '';
    count.textContent = `${format.count(order.length)} of ${format.count(total)} rows${held}`;
    if (top) box.scrollTop = 0;
    visible();
  }

  function detail(i) {
    const dialog = el('dialog', { 'aria-label': 'One source', onclose: () => dialog.remove(), onclick: (event) => { if (event.target === dialog) dialog.close(); } },
      el('h3', {}, c.source[i].split('/').pop()),
      el('dl', {}, facts([
        ['Source', el('code', {}, source.prefix + c.source[i])],
        ['Status', c.ok[i] ? 'ok' : `failed: ${kinds[c.kind[i]] || 'unknown'}`],
        c.error[i] && ['Error', c.error[i]],
        c.output[i] && ['Output', el('code', {}, c.output[i])],
        ['Pixels', `${size(c.width[i], c.height[i])} → ${size(c.output_width[i], c.output_height[i])}`],
        ['Bytes', `${format.bytes(c.source_bytes[i])} → ${format.bytes(c.output_bytes[i])}`],
        ['Work', `decode ${format.seconds(c.decode[i])}, infer ${format.seconds(c.infer[i])}, encode ${format.seconds(c.encode[i])}`],
        c.psnr && c.psnr[i] != null && ['PSNR, SSIM', `${format.fixed(c.psnr[i])} dB, ${format.fixed(c.ssim[i], 4)}`],
        ['Run', el('code', {}, runs[c.run[i]])],
        ['Finished', `${format.epoch(c.at[i])} UTC`],
      ].filter(Boolean))),
      el('form', { method: 'dialog' }, el('button.main', {}, 'Close')));
    document.body.append(dialog);
    dialog.showModal();
  }

  box.addEventListener('scroll', () => { if (!frame) frame = requestAnimationFrame(visible); }, { passive: true });
  new ResizeObserver(() => { if (!frame) frame = requestAnimationFrame(visible); }).observe(box);
  narrow.addEventListener('change', () => { columns(); refresh(false); });
  columns();
  refresh(false);
  return { box, search, status, count, show(kind) { search.value = ''; status.value = kind; refresh(true); } };
}
