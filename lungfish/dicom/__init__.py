"""From files to ordered slices: headers, series, geometry, pixels."""
