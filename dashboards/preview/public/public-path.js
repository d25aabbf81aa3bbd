window.__grafana_public_path__ = '/public/';
