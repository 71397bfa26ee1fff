// Every incident, open ones first.
import { api } from '../api'
import { useT } from '../i18n'
import { live } from '../live'
import { Card, Empty, Loading, TroubleBox } from '../parts/basic'
import { IncidentBand } from '../parts/incident'
import { useStore } from '../store'
import type { Incident } from '../types'
import { useLoad, useTitle } from '../use'

const late = (a: Incident, b: Incident): number => (a.openedAt < b.openedAt ? 1 : a.openedAt > b.openedAt ? -1 : 0)

export function Incidents() {
  const t = useT()
  const { bump, overview } = useStore(live)
  const openNow = overview?.incidents.filter((i) => i.state === 'open').length ?? 0
  const { data, trouble, reload } = useLoad('incidents', (s) => api.incidents(s), [bump, openNow], 15_000)
  useTitle(t.nav.incidents)
  const open = (data ?? []).filter((i) => i.state === 'open').sort(late)
  const done = (data ?? []).filter((i) => i.state === 'resolved').sort(late)
  return (
    <>
      <h1>{t.incidents.title}</h1>
      {trouble && <TroubleBox trouble={trouble} retry={reload} />}
      {!data && !trouble && <Loading />}
      {data && data.length === 0 && <Card><Empty>{t.empty.incidents}</Empty></Card>}
      {open.length > 0 && <section class="bands" aria-labelledby="open"><h2 id="open">{t.incidents.openOnes}</h2>{open.map((i) => <IncidentBand key={i.id} incident={i} />)}</section>}
      {done.length > 0 && <section class="bands" aria-labelledby="done"><h2 id="done">{t.incidents.resolvedOnes}</h2>{done.map((i) => <IncidentBand key={i.id} incident={i} />)}</section>}
    </>
  )
}
