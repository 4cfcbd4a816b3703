/* One picture before and after: a slider that is a real range input, so that keys move it. */
function compareFigure(picture, detail) {
  const short = picture.source.split('/').slice(-2).join('/');
  const close = detail && picture.detail_after;
  const [before, after] = close ? [picture.detail_before, picture.detail_after] : [picture.before, picture.after];
  const [width, height, outWidth, outHeight] = picture.sizes;
  const known = [
    `${width}×${height} → ${outWidth}×${outHeight}`,
    picture.psnr != null && `${format.fixed(picture.psnr)} dB`,
    picture.ssim != null && `SSIM ${format.fixed(picture.ssim, 4)}`,
    format.seconds(picture.seconds),
  ].filter(Boolean).join(' · ');
  const frame = picture.aligned ? sliderFrame(short, before, after) : besideFrame(short, before, after);
  return el('figure.compare', {}, frame,
    el('figcaption', {}, el('span.name', { title: picture.source }, short), el('span.facts', {}, known)));
}

function sliderFrame(name, before, after) {
  const frame = el('div.frame');
  const tell = (input) => {
    frame.style.setProperty('--at', `${input.value}%`);
    input.setAttribute('aria-valuetext', `${input.value} % before, ${100 - input.value} % after`);
  };
  const input = el('input', { type: 'range', min: 0, max: 100, value: 50, step: 1, 'aria-label': `Before and after: ${name}`, oninput: (event) => tell(event.target) });
  frame.append(
    el('img', { src: before, alt: `before: ${name}`, decoding: 'async', draggable: 'false' }),
    el('span.veil'),
    el('img.over', { src: after, alt: `after: ${name}`, decoding: 'async', draggable: 'false' }),
    input, el('span.bar-line'), el('span.knob', { 'aria-hidden': 'true' }, '⇆'),
    el('span.tag.left', { 'aria-hidden': 'true' }, 'before'), el('span.tag.right', { 'aria-hidden': 'true' }, 'after'));
  tell(input);
  return frame;
}

function besideFrame(name, before, after) {
  return el('div.frame.beside', {},
    el('img', { src: before, alt: `before: ${name}`, decoding: 'async' }),
    el('img', { src: after, alt: `after: ${name}`, decoding: 'async' }),
    el('span.tag.left', { 'aria-hidden': 'true' }, 'before'), el('span.tag.right', { 'aria-hidden': 'true' }, 'after'));
}

function gallery(groups, pictures) {
  const shown = groups.filter((group) => group.pictures.length);
  if (!shown.length) return null;
  let [group, detail] = [0, true];
  const grid = el('div.gallery');
  const render = () => grid.replaceChildren(...shown[group].pictures.map((source) => compareFigure(pictures[source], detail)));
  const which = segments('group', 'Which pictures', shown.map((one) => one.title), (i) => { group = i; render(); });
  const how = segments('how', 'How much of a picture', ['Detail', 'Whole'], (i) => { detail = i === 0; render(); });
  render();
  return { which, how, grid };
}
