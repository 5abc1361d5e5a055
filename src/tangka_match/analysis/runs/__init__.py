"""List and compare runs by their records: filters, differing settings, recipes of several seeds. Without torch."""
