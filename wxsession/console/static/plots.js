'use strict'

// Plots are drawn from the table below them, so that there is one source of the numbers.
const PALETTE = ['#0b7a40', '#d9822b', '#4b6cb7', '#b3261e', '#7b5ea7', '#5f6b7a']
const DARK_PALETTE = ['#4cc38a', '#f0a45b', '#8aa8ee', '#ff8a80', '#b79be6', '#a9b4c2']
const HEIGHT = 200
const dark = matchMedia('(prefers-color-scheme: dark)')
const spoken = document.documentElement.lang

const short = new Intl.NumberFormat(spoken, { notation: 'compact', maximumFractionDigits: 1 })
const full = new Intl.NumberFormat(spoken, { maximumFractionDigits: 1 })
const hour = new Intl.DateTimeFormat(spoken, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })
const day = new Intl.DateTimeFormat(spoken, { month: 'numeric', day: 'numeric' })
const whole = new Intl.DateTimeFormat(spoken, { month: 'numeric', day: 'numeric', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })

function read (table) {
  const rows = [...table.tBodies[0].rows]
  return {
    names: [...table.tHead.rows[0].cells].slice(1).map(cell => cell.textContent),
    times: rows.map(row => Date.parse(row.querySelector('time').dateTime) / 1000),
    values: [...table.tHead.rows[0].cells].slice(1).map((_, number) => rows.map(row => {
      const value = row.cells[number + 1].dataset.value
      return value === undefined ? null : Number(value)
    }))
  }
}

// Bars on top of one another: each is drawn to the sum of those below it, the highest one first.
function stacked (values) {
  let below = values[0].map(() => 0)
  return values.map(line => (below = line.map((value, at) => (value || 0) + below[at])))
}

function series (kind, names, raw) {
  const palette = dark.matches ? DARK_PALETTE : PALETTE
  const bars = kind === 'bars' ? uPlot.paths.bars({ size: [0.75, 48], align: 1 }) : uPlot.paths.spline()
  return names.map((label, number) => ({
    label,
    stroke: palette[number % palette.length],
    fill: kind === 'bars' ? palette[number % palette.length] : palette[number % palette.length] + '1c',
    width: kind === 'bars' ? 0 : 2,
    points: { show: kind === 'lines', size: 5 },
    spanGaps: false,
    paths: bars,
    value: (_plot, _value, _series, at) => at == null || raw[number][at] == null ? '' : full.format(raw[number][at])
  }))
}

function axes (step) {
  const style = getComputedStyle(document.body)
  const common = {
    stroke: style.color,
    font: `12px ${style.fontFamily}`,
    grid: { stroke: dark.matches ? '#2c3440' : '#e8ebef', width: 1 },
    ticks: { show: false }
  }
  const label = step < 86400 && step >= 3600 && step < 4 * 3600 ? hour : day
  return [
    { ...common, grid: { show: false }, size: 32, space: 56, values: (_plot, ticks) => ticks.map(at => label.format(at * 1000)) },
    { ...common, size: 48, space: 32, values: (_plot, ticks) => ticks.map(value => value == null ? '' : short.format(value)) }
  ]
}

function draw (figure) {
  const table = figure.querySelector('table')
  if (!table) return
  const kind = figure.dataset.plot
  const { names, times, values } = read(table)
  if (!names.length || times.length < 2) return
  const step = times[1] - times[0]
  const heights = kind === 'bars' ? stacked(values) : values
  const place = document.createElement('div')
  place.className = 'drawn'
  place.setAttribute('aria-hidden', 'true')
  figure.insertBefore(place, table.closest('details'))
  const lines = series(kind, names, values)
  const order = names.map((_, number) => number).reverse()
  const plot = new uPlot({
    width: place.clientWidth || 320,
    height: HEIGHT,
    cursor: { drag: { x: false, y: false }, points: { show: kind === 'lines' } },
    legend: { live: true },
    scales: {
      x: { range: (_plot, low, high) => [low, kind === 'bars' ? high + step : high] },
      y: { range: (_plot, _low, high) => [0, Math.max(high * 1.1, 1)] }
    },
    axes: axes(step),
    series: [{ value: (_plot, at) => at == null ? '' : whole.format(at * 1000), label: '\u00a0' }, ...order.map(number => lines[number])]
  }, [times, ...order.map(number => heights[number])], place)
  new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: HEIGHT })).observe(place)
  dark.addEventListener('change', () => { plot.destroy(); place.remove(); draw(figure) }, { once: true })
}

document.querySelectorAll('figure[data-plot]').forEach(draw)
