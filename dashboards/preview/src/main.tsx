import { initPluginTranslations } from '@grafana/i18n';
import { createRoot } from 'react-dom/client';
import { App } from './App';
import './style.css';

// The texts of Grafana's components; they must be there before the first of them is drawn.
await initPluginTranslations('grafana');
const root = document.getElementById('root');
if (root) {
  createRoot(root).render(<App />);
}
