import { createTheme, ThemeContext } from '@grafana/data';
import { Alert, GlobalStyles, PortalContainer } from '@grafana/ui';
import { useEffect, useMemo, useState, type ReactNode } from 'react';
import { followLinks, uidOf, useAddress } from './address';
import { parseDashboard, type Dashboard } from './dashboard';
import { DashboardView } from './DashboardView';
import { useLoaded } from './view';

/** What the server that serves this page has. */
interface Contents {
  dashboards: { uid: string; title: string }[];
}

const THEME = 'windvane.theme';

export function App() {
  const address = useAddress();
  const [dark, setDark] = useState(() => (localStorage.getItem(THEME) ?? (matchMedia('(prefers-color-scheme: light)').matches ? 'light' : 'dark')) === 'dark');
  const theme = useMemo(() => createTheme({ colors: { mode: dark ? 'dark' : 'light' } }), [dark]);
  useEffect(() => {
    document.body.className = dark ? 'theme-dark' : 'theme-light';
    localStorage.setItem(THEME, dark ? 'dark' : 'light');
  }, [dark]);
  useEffect(followLinks, []);

  const contents = useLoaded(loadContents, []);
  const uid = uidOf(address) ?? contents.value?.dashboards[0]?.uid;
  const dashboard = useLoaded((signal) => loadDashboard(uid, contents.value, signal), [uid, contents.value]);
  const parameters = new URL(address).searchParams;
  // What was chosen once goes along to other dashboards.
  const [refresh, setRefresh] = useState<string>();
  const askedRefresh = parameters.get('refresh');
  useEffect(() => {
    if (askedRefresh !== null) {
      setRefresh(askedRefresh);
    }
  }, [askedRefresh]);
  const loaded = dashboard.value;
  useEffect(() => {
    document.title = loaded ? `${loaded.title} · windvane preview` : 'windvane preview';
  }, [loaded]);

  const error = contents.error ?? dashboard.error;
  let page: ReactNode = null;
  if (error) {
    page = (
      <Alert title={error.message}>
        {contents.value?.dashboards.map((one) => (
          <div key={one.uid}>
            <a href={`/d/${one.uid}`} style={{ color: theme.colors.text.link }}>
              {one.title}
            </a>
          </div>
        ))}
      </Alert>
    );
  } else if (loaded && loaded.uid === uid) {
    page = (
      <DashboardView
        key={loaded.uid}
        dashboard={loaded}
        parameters={parameters}
        refresh={askedRefresh ?? refresh ?? loaded.refresh ?? ''}
        onThemeChange={() => {
          setDark(!dark);
        }}
      />
    );
  }
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      {page}
      <PortalContainer />
    </ThemeContext.Provider>
  );
}

async function loadText(path: string, signal: AbortSignal): Promise<string> {
  const response = await fetch(path, { signal }).catch(() => {
    throw new Error('the preview does not answer; is `windvane preview` still running?');
  });
  if (!response.ok) {
    throw new Error(`the preview answers ${response.status} to ${path}`);
  }
  return response.text();
}

async function loadContents(signal: AbortSignal): Promise<Contents> {
  return JSON.parse(await loadText('/dashboards.json', signal)) as Contents;
}

async function loadDashboard(uid: string | undefined, contents: Contents | undefined, signal: AbortSignal): Promise<Dashboard | undefined> {
  if (!uid || !contents) {
    return undefined;
  }
  if (!contents.dashboards.some((one) => one.uid === uid)) {
    throw new Error(`There is no dashboard ${uid}`);
  }
  return parseDashboard(await loadText(`/dashboards/${encodeURIComponent(uid)}.json`, signal));
}
