// Calls as a table: for the service page, and for those who would rather read
// the topology than look at it.
import { ms, rate, share } from '../format'
import { useT } from '../i18n'
import type { Edge } from '../types'
import { Mark, ServiceLink, Tag } from './basic'

export function EdgeTable({ edges, kinds, side = 'both' }: { edges: Edge[]; kinds?: Map<string, string>; side?: 'both' | 'from' | 'to' }) {
  const t = useT()
  return (
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th scope="col">{t.col.state}</th>
            {side !== 'to' && <th scope="col">{t.col.from}</th>}
            {side !== 'from' && <th scope="col">{t.col.to}</th>}
            <th scope="col">{t.col.tie}</th>
            <th scope="col" class="num">{t.col.rate}</th>
            <th scope="col" class="num">{t.col.errors}</th>
            <th scope="col" class="num">{t.col.p99}</th>
          </tr>
        </thead>
        <tbody>
          {edges.map((e) => (
            <tr key={e.from + '\n' + e.to}>
              <td><Mark state={e.state} /></td>
              {side !== 'to' && <td><ServiceLink name={e.from} /></td>}
              {side !== 'from' && <td><ServiceLink name={e.to} /></td>}
              <td class="wrap">
                {e.protocol !== '' && <Tag>{e.protocol}</Tag>}
                <Tag tone={e.strong ? 'accent' : ''}>{e.strong ? t.topology.strongShort : t.topology.weakShort}</Tag>
                {(e.external || (kinds !== undefined && kinds.get(e.to) !== 'service' && kinds.has(e.to))) && <Tag>{t.kind.external}</Tag>}
              </td>
              <td class="num">{rate(e.rate)}</td>
              <td class={'num' + (e.errorShare > 0 ? ' hot' : '')}>{share(e.errorShare)}</td>
              <td class="num">{e.rate > 0 ? ms(e.p99Ms) : '–'}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
