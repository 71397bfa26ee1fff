// A time chart by uPlot. Loaded only by pages that draw one.
import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { useLang, useT } from '../i18n'
import { useStore } from '../store'
import { color, theme } from '../theme'

export interface Line {
  label: string
  tone: number // index into --line-0 … --line-5
  dashed: boolean
}

export function Chart({ data, lines, from, to, format, top, label, height = 150 }: {
  data: (number | null)[][]
  lines: Line[]
  from: number
  to: number
  format: (v: number) => string
  top?: number // the least height of the value axis
  label: string
  height?: number
}) {
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | null>(null)
  const look = useStore(theme)
  const language = useLang()
  const time = useT().col.time
  const shape = JSON.stringify(lines)
  const latest = useRef({ data, from, to })
  latest.current = { data, from, to }

  useEffect(() => {
    const el = box.current
    if (!el) return
    const draw = (): void => {
      plot.current?.destroy()
      const axis = color('--muted')
      const grid = { stroke: color('--grid'), width: 1 }
      const font = '11px system-ui, sans-serif'
      plot.current = new uPlot(
        {
          width: Math.max(120, el.clientWidth),
          height,
          legend: { show: lines.length > 0, markers: { width: 2, dash: (_u, i) => (lines[i - 1]?.dashed ? 'dashed' : 'solid') } },
          cursor: { sync: { key: 'service' }, points: { size: 6 }, drag: { x: false, y: false } },
          padding: [10, 18, 0, 0],
          scales: {
            x: { time: true, range: () => [latest.current.from, latest.current.to] },
            y: { range: (_u, _min, max) => [0, Math.max(top ?? 0, (max ?? 0) * 1.1) || 1] },
          },
          axes: [
            { stroke: axis, grid, ticks: { show: false }, font, size: 26, space: 70, values: (_u, ticks) => ticks.map((s) => hour(s, latest.current.to - latest.current.from)) },
            { stroke: axis, grid, ticks: { show: false }, font, size: 54, space: 28, values: (_u, ticks) => ticks.map((v) => format(v)) },
          ],
          series: [
            { label: time, value: (_u, v) => (v === null ? '–' : hour(v, 0)) },
            ...lines.map((l) => ({
              label: l.label,
              stroke: color(`--line-${l.tone % 6}`),
              width: 1.6,
              ...(l.dashed ? { dash: [5, 3] } : {}),
              points: { show: false },
              spanGaps: false,
              value: (_u: uPlot, v: number | null) => (v === null ? '–' : format(v)),
            })),
          ],
        },
        latest.current.data as uPlot.AlignedData,
        el,
      )
    }
    draw()
    const dark = matchMedia('(prefers-color-scheme: dark)')
    dark.addEventListener('change', draw)
    const watch = new ResizeObserver(() => plot.current?.setSize({ width: Math.max(120, el.clientWidth), height }))
    watch.observe(el)
    return () => {
      watch.disconnect()
      dark.removeEventListener('change', draw)
      plot.current?.destroy()
      plot.current = null
    }
  }, [shape, look, language, height, top])

  useEffect(() => {
    plot.current?.setData(data as uPlot.AlignedData)
  }, [data, from, to])

  return <div ref={box} class="chart" role="img" aria-label={label} />
}

const two = (n: number): string => String(n).padStart(2, '0')

function hour(seconds: number, range: number): string {
  const d = new Date(seconds * 1000)
  const hm = `${two(d.getHours())}:${two(d.getMinutes())}`
  if (range === 0 || range <= 600) return `${hm}:${two(d.getSeconds())}`
  return range > 86400 ? `${two(d.getMonth() + 1)}-${two(d.getDate())} ${hm}` : hm
}
